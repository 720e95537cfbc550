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

TEST(EventRecord, TextThatIsAPieceOfRawIsStoredOnce) {
  const std::string raw = R"({"id":"0123456789abcdef","name":"page_view"})";
  EventFields in;
  in.raw = raw;
  in.id = std::string_view(raw).substr(7, 16);
  in.name = std::string_view(raw).substr(33, 9);
  std::string bytes;
  append_event_head(bytes, in);
  EXPECT_EQ(bytes.size(), 7u);  // twice tag, offset, length; end
  const std::string record = bytes + raw;
  EventFields out;
  ASSERT_TRUE(decode_event_record(record, &out));
  EXPECT_EQ(out.id, "0123456789abcdef");
  EXPECT_EQ(out.name, "page_view");
  EXPECT_EQ(out.raw, raw);
}

TEST(EventRecord, AReferenceBeyondRawIsRefused) {
  for (const std::string_view head :
       {std::string_view("\x81\x05\x02\0", 4), std::string_view("\x81\x07\x01\0", 4),
        std::string_view("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\0", 13)}) {
    EventFields out;
    EXPECT_FALSE(decode_event_record(std::string(head) + "123456", &out));
  }
  EventFields out;
  const std::string last_byte = std::string("\x81\x05\x01\0", 4) + "123456";
  EXPECT_TRUE(decode_event_record(last_byte, &out));
  EXPECT_EQ(out.id, "6");
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
