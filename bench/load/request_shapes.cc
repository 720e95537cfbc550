#include "bench/load/request_shapes.h"

namespace weir::bench {
namespace {

constexpr std::string_view kJson = "Content-Type: application/json\r\n";
constexpr std::string_view kBrowserText =
    "Content-Type: text/plain\r\nAccept: */*\r\nOrigin: https://shop.example\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: cross-site\r\n";

constexpr std::string_view kNativeEvent =
    R"({"id":"@ID@","name":"product_viewed","timestamp":1795000000000,"sessionId":"s-8f14e45fceea167a",)"
    R"("userId":"user-4711","shopId":"shop_123","url":"https://shop.example/p/42?ref=mail",)"
    R"("properties":{"campaign_id":"spring-26","tracking_id":"tr-0042","price":19.99,"currency":"EUR","title":"@FILL@"}})";
constexpr std::string_view kNativeShort =
    R"({"id":"@ID@","name":"product_viewed","timestamp":1795000000000,)"
    R"("properties":{"campaign_id":"spring-26","tracking_id":"tr-0042","t":"@FILL@"}})";

constexpr std::string_view kDirectEvent =
    R"({"id":"@ID@","name":"product_viewed","timestamp":1795000000000,"url":"https://shop.example/p/42",)"
    R"("properties":{"campaign_id":"spring-26","tracking_id":"tr-0042","title":"@FILL@"}})";

constexpr std::string_view kSegmentNode =
    R"({"timestamp":"2026-11-20T20:28:20.897Z","integrations":{},"type":"track","event":"product_viewed","userId":"user-4711",)"
    R"("properties":{"campaign_id":"spring-26","tracking_id":"tr-0042","price":19.99,"title":"@FILL@"},)"
    R"("context":{"library":{"name":"@segment/analytics-node","version":"3.1.0"}},"messageId":"@ID@",)"
    R"("_metadata":{"nodeVersion":"v20.20.2","jsRuntime":"node"}})";

constexpr std::string_view kSegmentBrowser =
    R"({"timestamp":"2026-11-20T20:28:40.693Z","integrations":{"Segment.io":true},"type":"track","event":"product_viewed",)"
    R"("properties":{"campaign_id":"spring-26","tracking_id":"tr-0042","price":19.99,"title":"@FILL@"},)"
    R"("context":{"page":{"path":"/p/42","referrer":"","search":"?utm_source=mail","title":"Tasse","url":"https://shop.example/p/42?utm_source=mail"},)"
    R"("userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",)"
    R"("locale":"en-US","library":{"name":"analytics.js","version":"npm:next-1.84.3"},"timezone":"UTC"},)"
    R"("messageId":"@ID@","anonymousId":"ef93984f-5d11-4d58-b81d-7bf1c801495f","writeKey":"@KEY@","userId":null,)"
    R"("sentAt":"2026-11-20T20:28:40.725Z","_metadata":{"bundled":["Segment.io"],"unbundled":[],"bundledIds":[]}})";

constexpr std::string_view kRudder =
    R"({"properties":{"campaign_id":"spring-26","tracking_id":"tr-0042","price":19.99,"title":"@FILL@"},"event":"product_viewed",)"
    R"("type":"track","channel":"web","context":{"traits":{},"sessionId":1795206541800,)"
    R"("app":{"name":"RudderLabs JavaScript SDK","namespace":"com.rudderlabs.javascript","version":"3.34.1","installType":"npm"},)"
    R"("library":{"name":"RudderLabs JavaScript SDK","version":"3.34.1","variant":"bundled"},"os":{"name":"","version":""},)"
    R"("locale":"en-US","screen":{"width":1280,"height":720,"density":1,"innerWidth":1280,"innerHeight":720},)"
    R"("page":{"path":"/p/42","referrer":"$direct","search":"","title":"Tasse","url":"https://shop.example/p/42"}},)"
    R"("originalTimestamp":"2026-11-20T20:29:01.800Z","messageId":"@ID@","userId":"user-4711",)"
    R"("anonymousId":"71e21f25-8a2d-4e2a-9369-55ea8f7613d9","integrations":{"All":true},"sentAt":"2026-11-20T20:29:01.817Z"})";

constexpr std::string_view kPosthogBrowser =
    R"({"uuid":"@ID@","event":"product_viewed","properties":{"$os":"Linux","$browser":"Chrome","$device_type":"Desktop",)"
    R"("$current_url":"https://shop.example/p/42","$host":"shop.example","$pathname":"/p/42","$browser_version":140,)"
    R"("$screen_height":720,"$screen_width":1280,"$lib":"web","$lib_version":"1.434.18","$insert_id":"h567b9pou87j5vpj",)"
    R"("$time":1795206574.7,"distinct_id":"user-4711","campaign_id":"spring-26","tracking_id":"tr-0042","title":"@FILL@"},)"
    R"("timestamp":"2026-11-20T20:29:34.664Z"})";

constexpr std::string_view kPosthogNode =
    R"({"event":"product_viewed","properties":{"$current_url":"https://shop.example/p/42","campaign_id":"spring-26",)"
    R"("tracking_id":"tr-0042","title":"@FILL@","$lib":"posthog-node","$lib_version":"5.70.0","$is_server":true,)"
    R"("$geoip_disable":true},"timestamp":"2026-01-02T03:04:05.678Z","uuid":"@ID@","distinct_id":"user-4711"})";

constexpr std::string_view kMixpanel =
    R"({"event":"product_viewed","properties":{"distinct_id":"user-4711","$insert_id":"@ID@","time":1795206612048,)"
    R"("campaign_id":"spring-26","tracking_id":"tr-0042","price":19.99,"title":"@FILL@","token":"@KEY@","mp_lib":"node",)"
    R"("$lib_version":"0.24.0"}})";

constexpr std::string_view kAmplitude =
    R"({"user_id":"user-4711","device_id":"1365a091-508d-4c32-8dfc-aba447a226b8","session_id":1795206675859,"time":1795206675864,)"
    R"("platform":"Web","language":"en-US","ip":"$remote","insert_id":"@ID@","event_type":"product_viewed",)"
    R"("event_properties":{"campaign_id":"spring-26","tracking_id":"tr-0042","price":19.99,"title":"@FILL@"},)"
    R"("event_id":0,"library":"amplitude-ts/2.47.0"})";

constexpr std::string_view kPlausible =
    R"({"n":"product_viewed","u":"https://shop.example/p/42?utm_source=mail","d":"@KEY@","r":null,"w":1280,"h":0,)"
    R"("p":{"event_id":"@ID@","campaign_id":"spring-26","tracking_id":"tr-0042","title":"@FILL@"}})";

constexpr std::string_view kUmami =
    R"({"type":"event","payload":{"website":"@KEY@","url":"/p/42","title":"Tasse","referrer":"https://ref.example/",)"
    R"("hostname":"shop.example","language":"de-DE","screen":"1920x1080","name":"product_viewed",)"
    R"("data":{"event_id":"@ID@","campaign_id":"spring-26","tracking_id":"tr-0042","title":"@FILL@"}}})";

constexpr std::string_view kSnowplow =
    R"({"e":"se","se_ca":"shop","se_ac":"product_viewed","se_la":"@FILL@","url":"https://shop.example/p/42","page":"Tasse",)"
    R"("eid":"@ID@","tv":"js-4.10.1","tna":"sp1","aid":"@KEY@","p":"web","cookie":"1","cs":"UTF-8","lang":"en-US",)"
    R"("res":"1280x720","cd":"24","tz":"UTC","dtm":"1795206649633","uid":"user-4711","stm":"1795206649640"})";

constexpr std::string_view kCloudEvent =
    R"({"specversion":"1.0","id":"@ID@","source":"https://shop.example/","type":"product_viewed","time":"2026-11-20T20:28:20.897Z",)"
    R"("datacontenttype":"application/json","data":{"campaign_id":"spring-26","tracking_id":"tr-0042","title":"@FILL@"}})";

constexpr std::string_view kMatomo =
    R"("?idsite=@KEY@&rec=1&url=https%3A%2F%2Fshop.example%2Fp%2F42&e_c=shop&e_a=product_viewed&uid=user-4711)"
    R"(&pv_id=@ID@&cdt=1767312000&e_n=@FILL@")";

constexpr std::string_view kOtlp =
    R"({"timeUnixNano":"1767323045678000000","observedTimeUnixNano":"1795206515535000000","severityNumber":9,)"
    R"("severityText":"INFO","body":{"stringValue":"@FILL@"},"eventName":"product_viewed","attributes":[)"
    R"({"key":"event.id","value":{"stringValue":"@ID@"}},{"key":"campaign_id","value":{"stringValue":"spring-26"}},)"
    R"({"key":"tracking_id","value":{"stringValue":"tr-0042"}}],"droppedAttributesCount":0})";
constexpr std::string_view kOtlpOpen =
    R"({"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},)"
    R"({"key":"telemetry.sdk.language","value":{"stringValue":"nodejs"}}],"droppedAttributesCount":0},)"
    R"("scopeLogs":[{"scope":{"name":"events","version":"1.0.0"},"logRecords":[)";

constexpr RequestShape kShapes[] = {
    {.name = "native",
     .what = "Weir's own: an object, an array when batched",
     .path = "/v1/events",
     .headers = kJson,
     .batch_open = "[",
     .batch_close = "]",
     .separator = ",",
     .event = kNativeEvent,
     .short_event = kNativeShort,
     .checked = true},
    {.name = "ndjson",
     .what = "the same, one event a line",
     .path = "/v1/events",
     .headers = "Content-Type: application/x-ndjson\r\n",
     .separator = "\n",
     .event = kNativeEvent,
     .short_event = kNativeShort,
     .checked = true},
    {.name = "direct",
     .what = "a session's event as the shop's backend takes it",
     .path = "/api/analytics/event",
     .batch_path = "/api/analytics/events",
     .headers = kJson,
     .open = R"({"sessionId":"s-8f14e45fceea167a","event":)",
     .close = "}",
     .batch_open = R"({"sessionId":"s-8f14e45fceea167a","events":[)",
     .batch_close = "]}",
     .separator = ",",
     .event = kDirectEvent},
    {.name = "pixel",
     .what = "GET of a tracking pixel",
     .path = "/v1/pixel.gif",
     .headers = "Accept: image/*\r\nReferer: https://shop.example/\r\n",
     .event = "?key=@KEY@&id=@ID@&name=product_viewed&campaign_id=spring-26&tracking_id=tr-0042&"
              "title=@FILL@",
     .batches = false,
     .get = true,
     .plain_fill = true},
    {.name = "segment",
     .what = "@segment/analytics-node",
     .path = "/v1/batch",
     .headers = "Content-Type: application/json\r\nAuthorization: Basic @BASIC@\r\nUser-Agent: "
                "analytics-node-next/latest\r\n",
     .open = R"({"batch":[)",
     .close = R"(],"writeKey":"@KEY@","sentAt":"2026-11-20T20:28:20.902Z"})",
     .separator = ",",
     .event = kSegmentNode},
    {.name = "segment-browser",
     .what = "analytics.js, one call a request",
     .path = "/v1/t",
     .headers = kBrowserText,
     .event = kSegmentBrowser,
     .batches = false},
    {.name = "rudder",
     .what = "RudderStack's JavaScript SDK, one call a request",
     .path = "/v1/track",
     .headers = "Content-Type: application/json;charset=UTF-8\r\nAuthorization: Basic "
                "@BASIC@\r\nOrigin: https://shop.example\r\n",
     .event = kRudder,
     .batches = false},
    {.name = "posthog",
     .what = "posthog-js",
     .path = "/e/",
     .headers = kBrowserText,
     .open = R"({"api_key":"@KEY@","batch":[)",
     .close = R"(],"sent_at":"2026-11-20T20:29:34.712Z"})",
     .separator = ",",
     .event = kPosthogBrowser},
    {.name = "posthog-node",
     .what = "posthog-node",
     .path = "/batch/",
     .headers = "Content-Type: application/json\r\nUser-Agent: posthog-node/5.70.0\r\n",
     .open = R"({"api_key":"@KEY@","batch":[)",
     .close = R"(],"sent_at":"2026-11-20T20:28:27.516Z"})",
     .separator = ",",
     .event = kPosthogNode},
    {.name = "mixpanel",
     .what = "Mixpanel's import of server-side events",
     .path = "/import?strict=1",
     .headers = "Content-Type: application/json\r\nAuthorization: Basic @BASIC@\r\n",
     .open = "[",
     .close = "]",
     .separator = ",",
     .event = kMixpanel},
    {.name = "amplitude",
     .what = "Amplitude's HTTP API v2",
     .path = "/2/httpapi",
     .headers = kJson,
     .open = R"({"api_key":"@KEY@","events":[)",
     .close = R"(],"options":{},"client_upload_time":"2026-11-20T20:31:16.367Z"})",
     .separator = ",",
     .event = kAmplitude},
    {.name = "plausible",
     .what = "plausible-tracker",
     .path = "/api/event",
     .headers = kBrowserText,
     .event = kPlausible,
     .batches = false,
     .verifiable = false},
    {.name = "umami",
     .what = "umami-node",
     .path = "/api/send",
     .headers = "Content-Type: application/json\r\nUser-Agent: Mozilla/5.0 Umami/v20.20.2\r\n",
     .event = kUmami,
     .batches = false,
     .verifiable = false},
    {.name = "snowplow",
     .what = "Snowplow's trackers, protocol tp2",
     .path = "/com.snowplowanalytics.snowplow/tp2",
     .headers = "Content-Type: application/json; charset=UTF-8\r\nOrigin: https://shop.example\r\n",
     .open =
         R"({"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[)",
     .close = "]}",
     .separator = ",",
     .event = kSnowplow},
    {.name = "cloudevents",
     .what = "CloudEvents 1.0, structured or a batch",
     .path = "/cloudevents",
     .headers = "Content-Type: application/cloudevents-batch+json; charset=UTF-8\r\n",
     .open = "[",
     .close = "]",
     .separator = ",",
     .event = kCloudEvent},
    {.name = "matomo",
     .what = "Matomo's bulk tracking",
     .path = "/matomo.php",
     .headers = kJson,
     .open = R"({"requests":[)",
     .close = "]}",
     .separator = ",",
     .event = kMatomo,
     .verifiable = false,
     .plain_fill = true},
    {.name = "otlp",
     .what = "OpenTelemetry logs as JSON",
     .path = "/v1/logs",
     .headers = "Content-Type: application/json\r\nAuthorization: Bearer @KEY@\r\nUser-Agent: "
                "OTel-OTLP-Exporter-JavaScript/0.223.1\r\n",
     .open = kOtlpOpen,
     .close = "]}]}]}",
     .separator = ",",
     .event = kOtlp,
     .verifiable = false},
};

}  // namespace

std::span<const RequestShape> request_shapes() { return kShapes; }

const RequestShape* find_shape(std::string_view name) {
  for (const RequestShape& shape : kShapes)
    if (shape.name == name) return &shape;
  return nullptr;
}

}  // namespace weir::bench
