#include "collector/event/words.h"

namespace weir::event {
namespace {

constexpr size_t kSlots = 256;
constexpr uint8_t kEmpty = 0xff;

constexpr size_t longest_word() {
  size_t longest = 0;
  for (const WordInfo& word : kWordTable)
    if (word.text.size() > longest) longest = word.text.size();
  return longest;
}

// Three bytes and the length tell nearly all words apart; what collides moves to the next slot.
constexpr size_t slot_of(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  return (byte(0) * 7u + byte(text.size() - 1) * 31u + byte(text.size() / 2) * 13u +
          text.size() * 59u) %
         kSlots;
}

constexpr auto kTable = [] {
  std::array<uint8_t, kSlots> table{};
  for (uint8_t& slot : table) slot = kEmpty;
  for (size_t i = 0; i < kWords; ++i) {
    size_t slot = slot_of(kWordTable[i].text);
    while (table[slot] != kEmpty) slot = (slot + 1) % kSlots;
    table[slot] = static_cast<uint8_t>(i);
  }
  return table;
}();

template <class T>
bool same(const char* a, const char* b) {
  T x;
  T y;
  std::memcpy(&x, a, sizeof x);
  std::memcpy(&y, b, sizeof y);
  return x == y;
}

// Equality of two texts of the same size, 2 to 24 bytes, in at most three loads each; a call to
// memcmp would cost more than the rest of the look-up.
bool same_text(const char* a, const char* b, size_t size) {
  if (size >= 8)
    return same<uint64_t>(a, b) && same<uint64_t>(a + size - 8, b + size - 8) &&
           (size <= 16 || same<uint64_t>(a + 8, b + 8));
  if (size >= 4) return same<uint32_t>(a, b) && same<uint32_t>(a + size - 4, b + size - 4);
  return same<uint16_t>(a, b) && a[size - 1] == b[size - 1];
}
static_assert(longest_word() <= 24);

}  // namespace

Word find_word(std::string_view text) {
  if (text.size() < 2 || text.size() > longest_word()) return Word::kNone;
  for (size_t slot = slot_of(text); kTable[slot] != kEmpty; slot = (slot + 1) % kSlots) {
    const std::string_view candidate = kWordTable[kTable[slot]].text;
    if (candidate.size() == text.size() && same_text(candidate.data(), text.data(), text.size()))
      return static_cast<Word>(kTable[slot]);
  }
  return Word::kNone;
}

Field find_field(std::string_view text) {
  const Word word = find_word(text);
  return word == Word::kNone ? Field::kNone : kWordTable[static_cast<size_t>(word)].field;
}

std::string_view field_name(Field field) {
  switch (field) {
    case Field::kId:
      return "id";
    case Field::kName:
      return "name";
    case Field::kTimestamp:
      return "timestamp";
    case Field::kSessionId:
      return "session_id";
    case Field::kUserId:
      return "user_id";
    case Field::kAnonymousId:
      return "anonymous_id";
    case Field::kShopId:
      return "shop_id";
    case Field::kLocationId:
      return "location_id";
    case Field::kUrl:
      return "url";
    case Field::kReferrer:
      return "referrer";
    case Field::kCampaignId:
      return "campaign_id";
    case Field::kTrackingId:
      return "tracking_id";
    case Field::kVariant:
      return "variant";
    case Field::kPriority:
      return "priority";
    case Field::kProperties:
      return "properties";
    case Field::kWriteKey:
      return "write_key";
    case Field::kNone:
      break;
  }
  return {};
}

}  // namespace weir::event
