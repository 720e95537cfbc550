#include "forwarder/destinations/http.h"

#include "forwarder/cloudevents.h"
#include "forwarder/compression.h"
#include "forwarder/destinations/http_client.h"
#include "forwarder/destinations/http_sends.h"
#include "forwarder/encoder.h"
#include "forwarder/signature.h"

namespace weir::forwarder {
namespace {

class HttpDestination : public Destination {
 public:
  HttpDestination(const DestinationOptions& options, Identity identity, const Clock& clock)
      : options_(options), identity_(std::move(identity)), clock_(clock) {}

  Status open() {
    for (const auto& [name, value] : options_.headers)
      if (name.empty() || name.find_first_of(" \t\r\n:") != std::string::npos ||
          value.find_first_of("\r\n") != std::string::npos || value.find('\0') != std::string::npos)
        return fail(ErrorCode::kInvalidArgument, "destination {}: \"{}\" is not a valid header",
                    options_.name, name);
    WEIR_ASSIGN_OR_RETURN(compressor_, Compressor::make(options_.compression));
    WEIR_ASSIGN_OR_RETURN(client_, HttpClient::make(options_, clock_));
    return {};
  }

  std::unique_ptr<Encoder> make_encoder() override {
    if (options_.format == BodyFormat::kCloudEvents)
      return std::make_unique<CloudEventsEncoder>(identity_.node, identity_.store_id, *compressor_);
    return std::make_unique<JsonEncoder>(options_.format, identity_.node, identity_.store_id,
                                         *compressor_);
  }

  void send(Send& send) override {
    HttpRequest& request = sends_.take(send);
    request.url = options_.url;
    request.body = send.body;
    set_headers(send, &request.headers);
    client_->start(request);
  }

  Send* take_finished() override {
    return sends_.finished(client_->take_finished(), [&](const HttpRequest& request, Send& send) {
      send.outcome = classify_http(request.answer(), send.events, clock_.wall_ms());
    });
  }

  void abandon() override {
    client_->abandon();
    sends_.forget();
  }

  int poll_fd() const override { return client_->poll_fd(); }
  int64_t deadline_ns() const override { return client_->deadline_ns(); }

 private:
  void set_headers(const Send& send, std::vector<std::string>* headers) const {
    headers->push_back(fmt::format("Content-Type: {}", content_type(options_.format)));
    const std::string_view encoding = content_encoding(options_.compression);
    if (!encoding.empty()) headers->push_back(fmt::format("Content-Encoding: {}", encoding));
    headers->push_back(fmt::format("Idempotency-Key: {}", send.batch_id));
    headers->push_back(fmt::format("Weir-Node: {}", identity_.node));
    headers->push_back(fmt::format("Weir-Store: {}", identity_.store_id));
    headers->push_back(fmt::format("Weir-Events: {}", send.events));
    if (!options_.hmac_key.empty())
      headers->push_back("Weir-Signature: " +
                         make_signature(options_.hmac_key, clock_.wall_ms() / 1000, send.body));
    for (const auto& [name, value] : options_.headers)
      headers->push_back(value.empty() ? fmt::format("{};", name)
                                       : fmt::format("{}: {}", name, value));
  }

  const DestinationOptions options_;
  const Identity identity_;
  const Clock& clock_;
  std::unique_ptr<Compressor> compressor_;
  HttpSends sends_;  // before the client, which refers to them
  std::unique_ptr<HttpClient> client_;
};

}  // namespace

Result<std::unique_ptr<Destination>> make_http_destination(const DestinationOptions& options,
                                                           const Identity& identity,
                                                           const Clock& clock) {
  auto destination = std::make_unique<HttpDestination>(options, identity, clock);
  WEIR_RETURN_IF_ERROR(destination->open());
  return destination;
}

}  // namespace weir::forwarder
