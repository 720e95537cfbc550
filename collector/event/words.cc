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

}  // namespace

Word find_word(std::string_view text) {
  if (text.size() < 2 || text.size() > longest_word()) return Word::kNone;
  for (size_t slot = slot_of(text); kTable[slot] != kEmpty; slot = (slot + 1) % kSlots) {
    const std::string_view candidate = kWordTable[kTable[slot]].text;
    if (candidate.size() == text.size() &&
        std::memcmp(candidate.data(), text.data(), text.size()) == 0)
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
