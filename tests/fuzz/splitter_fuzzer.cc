// Cutting bodies: whatever the bytes and the expected shape, the reader ends, every event lies
// inside the body and is valid JSON, and a body is accepted only if it is grammatical as a whole.
// The first byte chooses the shape, the second the limits.
#include <cstdint>
#include <memory>
#include <string_view>

#include "collector/event/body_reader.h"
#include "storage/base/check.h"

namespace {

using weir::event::BodyPlan;
using weir::event::BodyReader;

BodyPlan plan_of(uint8_t choice) {
  switch (choice % 5) {
    case 0:
      return {};
    case 1:
      return {BodyPlan::Kind::kOneObject, "events", false, false};
    case 2:
      return {BodyPlan::Kind::kWrapper, "batch", false, false};
    case 3:
      return {BodyPlan::Kind::kWrapper, "event", true, false};
    default:
      return {BodyPlan::Kind::kNative, "events", false, true};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const BodyPlan plan = plan_of(data[0]);
  weir::event::Limits limits;
  if (data[1] % 2 != 0) limits.event_bytes = 64;
  if (data[1] % 4 > 1) limits.events = 3;
  const size_t length = size - 2;
  const std::unique_ptr<char[]> copy(new char[length]);
  std::copy(data + 2, data + size, copy.get());
  const std::string_view body(copy.get(), length);

  static weir::event::EventParser parser;
  BodyReader reader(parser, limits);
  weir::event::Arena arena;
  reader.start(body, plan);
  bool first = true;
  for (size_t steps = 0;; ++steps) {
    WEIR_CHECK(steps <= 2 * length + 16, "the reader does not end");
    const BodyReader::Step step = reader.next();
    if (step == BodyReader::Step::kError) {
      WEIR_CHECK(reader.error().kind != weir::event::BodyError::Kind::kNone);
      WEIR_CHECK(reader.error().offset <= length && !reader.error().reason.empty());
      return 0;
    }
    if (step == BodyReader::Step::kEnd) break;
    if (step == BodyReader::Step::kHead) reader.envelope(arena);
    if (step != BodyReader::Step::kEvent) continue;
    const std::string_view event = reader.event();
    WEIR_CHECK(event.data() >= body.data() &&
               event.data() + event.size() <= body.data() + body.size());
    WEIR_CHECK(event.front() == '{' && event.size() <= limits.event_bytes);
    WEIR_CHECK(!weir::event::find_syntax_error(event, limits.depth).found());
    WEIR_CHECK(reader.index() > 0 || first);
    first = false;
  }
  if (plan.kind != BodyPlan::Kind::kNative) {
    std::string_view text = body;
    if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
    WEIR_CHECK(!weir::event::find_syntax_error(text, limits.depth + 2).found());
  }
  return 0;
}
