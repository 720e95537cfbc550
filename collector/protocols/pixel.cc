#include "collector/protocols/pixel.h"

#include "collector/protocols/canonical.h"
#include "collector/protocols/native.h"

namespace weir::protocols {
namespace {

constexpr Route kRoutes[] = {
    {"/v1/pixel.gif", http::Method::kGet, Route::Use::kQuery, 0},
};

// GIF89a, 1 x 1, one transparent pixel: the 43 bytes every tracker sends.
constexpr char kImage[] =
    "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    "\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02"
    "D\x01\x00;";
constexpr std::string_view kImageBytes(kImage, sizeof kImage - 1);
static_assert(kImageBytes.size() == 43);

constexpr std::string_view kHeadersCommitted =
    "Cache-Control: no-store, no-cache, must-revalidate, private\r\nPragma: no-cache\r\n"
    "Weir-Ack: committed\r\n";
constexpr std::string_view kHeadersReceived =
    "Cache-Control: no-store, no-cache, must-revalidate, private\r\nPragma: no-cache\r\n"
    "Weir-Ack: received\r\n";
constexpr std::string_view kHeadersError = "Cache-Control: no-store\r\n";

class Pixel final : public Adapter {
 public:
  std::string_view name() const override { return "pixel"; }
  std::span<const Route> routes() const override { return kRoutes; }
  event::BodyPlan plan(const RequestHead&, uint8_t) const override { return {}; }

  std::string_view read_event(const EventInput& input, EventFields& fields) const override {
    read_canonical(input, fields);
    fields.raw_encoding = RawEncoding::kText;
    return fields.name.empty() ? "missing_name" : std::string_view{};
  }

  http::Response answer(const Outcome& outcome, std::string& text) const override {
    if (outcome.all_rejected()) {
      http::Response response = native_answer(outcome, text);
      response.extra_headers = kHeadersError;
      return response;
    }
    http::Response response;
    response.content_type = "image/gif";
    response.extra_headers = outcome.received_only ? kHeadersReceived : kHeadersCommitted;
    response.body = kImageBytes;
    return response;
  }
};

}  // namespace

const Adapter& pixel_adapter() {
  static const Pixel adapter;
  return adapter;
}

}  // namespace weir::protocols
