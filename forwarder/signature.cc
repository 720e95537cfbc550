#include "forwarder/signature.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <memory>

namespace weir::forwarder {
namespace {

struct FreeMac {
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};

const unsigned char* as_bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

std::string make_signature(std::string_view key, int64_t unix_seconds, std::string_view body) {
  const std::unique_ptr<EVP_MAC, FreeMac> mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  const std::unique_ptr<EVP_MAC_CTX, FreeMac> context(EVP_MAC_CTX_new(mac.get()));
  if (!mac || !context) return {};
  char digest_name[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
      OSSL_PARAM_construct_end()};
  const std::string head = fmt::format("{}.", unix_seconds);
  unsigned char digest[32];
  size_t size = 0;
  if (EVP_MAC_init(context.get(), as_bytes(key), key.size(), parameters) != 1 ||
      EVP_MAC_update(context.get(), as_bytes(head), head.size()) != 1 ||
      EVP_MAC_update(context.get(), as_bytes(body), body.size()) != 1 ||
      EVP_MAC_final(context.get(), digest, &size, sizeof digest) != 1 || size != sizeof digest)
    return {};
  std::string out = fmt::format("t={},v1=", unix_seconds);
  for (const unsigned char byte : digest) fmt::format_to(std::back_inserter(out), "{:02x}", byte);
  return out;
}

}  // namespace weir::forwarder
