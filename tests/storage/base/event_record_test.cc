#include "storage/base/event_record.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(EventRecord, RoundTripsEveryField) {
  EventFields in;
#define WEIR_FILL(member, tag, name) in.member = name "-value";
  WEIR_EVENT_TEXT_FIELDS(WEIR_FILL)
#undef WEIR_FILL
  in.timestamp_ms = -5;
  in.priority = 2;
  in.sandbox = true;
  in.raw_encoding = RawEncoding::kBase64;
  std::string bytes;
  append_event_head(bytes, in);
  bytes += "raw\0bytes";
  EventFields out;
  ASSERT_TRUE(decode_event_record(bytes, &out));
#define WEIR_EXPECT(member, tag, name) EXPECT_EQ(out.member, name "-value");
  WEIR_EVENT_TEXT_FIELDS(WEIR_EXPECT)
#undef WEIR_EXPECT
  EXPECT_EQ(out.timestamp_ms, -5);
  EXPECT_EQ(out.priority, 2);
  EXPECT_TRUE(out.sandbox);
  EXPECT_EQ(out.raw_encoding, RawEncoding::kBase64);
  EXPECT_EQ(out.raw, "raw");
}

TEST(EventRecord, AnEmptyEventIsOneByteAndNormalPriority) {
  std::string bytes;
  append_event_head(bytes, EventFields{});
  EXPECT_EQ(bytes.size(), 1u);
  EventFields out;
  ASSERT_TRUE(decode_event_record(bytes, &out));
  EXPECT_EQ(out.priority, 1);
  EXPECT_EQ(out.raw, "");
}

TEST(EventRecord, EveryTruncationIsRefusedOrDecodesWithoutReadingPastTheEnd) {
  EventFields in;
  in.id = "some-id";
  in.name = "page_view";
  in.timestamp_ms = 1;
  std::string bytes;
  append_event_head(bytes, in);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EventFields out;
    EXPECT_FALSE(decode_event_record(std::string(bytes, 0, size), &out)) << size;
  }
}

TEST(EventRecord, UnknownTagsOfANewerVersionAreSkipped) {
  std::string bytes("\x7e\x03xyz\x02\x02hi\x00raw", 13);
  EventFields out;
  ASSERT_TRUE(decode_event_record(bytes, &out));
  EXPECT_EQ(out.name, "hi");
  EXPECT_EQ(out.raw, "raw");
}

}  // namespace
}  // namespace weir
