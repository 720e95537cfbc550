// The member names Weir knows inside events and envelopes, and which canonical field each one
// means. Path: hot (once per member).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace weir::event {

// Canonical fields that clients may send (storage/base/event_record.h has the stored ones). The
// order is that of the words below.
enum class Field : uint8_t {
  kId,
  kName,
  kTimestamp,
  kSessionId,
  kUserId,
  kAnonymousId,
  kShopId,
  kLocationId,
  kUrl,
  kReferrer,
  kCampaignId,
  kTrackingId,
  kVariant,
  kPriority,
  kProperties,
  kWriteKey,
  kNone,
};

// clang-format off
// X(id, "member name", canonical field). Words of one field stand together, the preferred one
// first: when an event carries several, the first in this order counts.
#define WEIR_EVENT_WORDS(X)                                \
  X(kId, "id", Field::kId)                                 \
  X(kMessageId, "messageId", Field::kId)                   \
  X(kMessageIdSnake, "message_id", Field::kId)             \
  X(kEventId, "eventId", Field::kId)                       \
  X(kEventIdSnake, "event_id", Field::kId)                 \
  X(kName, "name", Field::kName)                           \
  X(kEventName, "eventName", Field::kName)                 \
  X(kEventNameSnake, "event_name", Field::kName)           \
  X(kEvent, "event", Field::kName)                         \
  X(kEventType, "eventType", Field::kName)                 \
  X(kEventTypeSnake, "event_type", Field::kName)           \
  X(kType, "type", Field::kName)                           \
  X(kTimestamp, "timestamp", Field::kTimestamp)            \
  X(kSessionId, "sessionId", Field::kSessionId)            \
  X(kSessionIdSnake, "session_id", Field::kSessionId)      \
  X(kUserId, "userId", Field::kUserId)                     \
  X(kUserIdSnake, "user_id", Field::kUserId)               \
  X(kAnonymousId, "anonymousId", Field::kAnonymousId)      \
  X(kAnonymousIdSnake, "anonymous_id", Field::kAnonymousId) \
  X(kShopId, "shopId", Field::kShopId)                     \
  X(kShopIdSnake, "shop_id", Field::kShopId)               \
  X(kLocationId, "locationId", Field::kLocationId)         \
  X(kLocationIdSnake, "location_id", Field::kLocationId)   \
  X(kUrl, "url", Field::kUrl)                              \
  X(kReferrer, "referrer", Field::kReferrer)               \
  X(kCampaignIdSnake, "campaign_id", Field::kCampaignId)   \
  X(kCampaignId, "campaignId", Field::kCampaignId)         \
  X(kTrackingIdSnake, "tracking_id", Field::kTrackingId)   \
  X(kTrackingId, "trackingId", Field::kTrackingId)         \
  X(kVariant, "variant", Field::kVariant)                  \
  X(kPriority, "priority", Field::kPriority)               \
  X(kProperties, "properties", Field::kProperties)         \
  X(kData, "data", Field::kProperties)                     \
  X(kWriteKey, "writeKey", Field::kWriteKey)               \
  X(kApiKeySnake, "api_key", Field::kWriteKey)             \
  X(kApiKey, "apiKey", Field::kWriteKey)                   \
  X(kToken, "token", Field::kWriteKey)                     \
  X(kContext, "context", Field::kNone)                     \
  X(kCampaign, "campaign", Field::kNone)                   \
  X(kPage, "page", Field::kNone)                           \
  X(kGroupId, "groupId", Field::kNone)                     \
  X(kPreviousId, "previousId", Field::kNone)               \
  X(kOriginalTimestamp, "originalTimestamp", Field::kNone) \
  X(kEvents, "events", Field::kNone)
// clang-format on

enum class Word : uint8_t {
#define WEIR_EVENT_WORD_ENUM(id, text, field) id,
  WEIR_EVENT_WORDS(WEIR_EVENT_WORD_ENUM)
#undef WEIR_EVENT_WORD_ENUM
      kCount,
  kNone = 0xff,
};
constexpr size_t kWords = static_cast<size_t>(Word::kCount);
static_assert(kWords <= 64, "sets of words are 64-bit masks");

struct WordInfo {
  std::string_view text;
  Field field;
};
constexpr WordInfo kWordTable[] = {
#define WEIR_EVENT_WORD_INFO(id, text, field) {text, field},
    WEIR_EVENT_WORDS(WEIR_EVENT_WORD_INFO)
#undef WEIR_EVENT_WORD_INFO
};

constexpr uint64_t word_bit(Word word) { return uint64_t{1} << static_cast<unsigned>(word); }

// The words that mean a field, as a mask.
constexpr uint64_t field_words(Field field) {
  uint64_t mask = 0;
  for (size_t i = 0; i < kWords; ++i)
    if (kWordTable[i].field == field) mask |= uint64_t{1} << i;
  return mask;
}

// kNone when the text is none of the words.
Word find_word(std::string_view text);
// The canonical field of a name in either spelling; kNone when Weir knows none.
Field find_field(std::string_view text);
// "campaign_id": the name reasons and destinations use.
std::string_view field_name(Field field);

}  // namespace weir::event
