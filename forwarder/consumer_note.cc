#include "forwarder/consumer_note.h"

#include <algorithm>
#include <charconv>

#include "forwarder/limits.h"
#include "storage/base/bytes.h"

namespace weir::forwarder {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kSandbox = 1;
constexpr uint8_t kTemporary = 2;

void append_list(std::string& out, const std::vector<std::string>& list) {
  append_varint(out, list.size());
  for (const std::string& text : list) append_sized_bytes(out, text);
}

std::vector<std::string> read_list(ByteReader& in) {
  std::vector<std::string> list;
  const uint64_t count = in.varint();
  for (uint64_t i = 0; i < count && in.ok(); ++i) list.emplace_back(in.sized_bytes());
  return list;
}

}  // namespace

RangeOwner RangeOwner::parse(std::string_view text) {
  RangeOwner owner;
  const size_t space = std::min(text.find(' '), text.size());
  if (space < text.size()) owner.holder = text.substr(space + 1);
  const std::string_view numbers = text.substr(0, space);
  const char* const end = numbers.data() + numbers.size();
  const auto lease = std::from_chars(numbers.data(), end, owner.lease, 16);
  if (lease.ptr != end && *lease.ptr == '/') std::from_chars(lease.ptr + 1, end, owner.letter, 16);
  return owner;
}

std::string RangeOwner::text() const {
  if (lease == 0 && letter == 0) return {};
  std::string out = fmt::format("{:x}", lease);
  if (letter != 0) out += fmt::format("/{:x}", letter);
  if (!holder.empty()) out += " " + holder.substr(0, kMaxHolderBytes);
  return out;
}

std::string encode_note(const ConsumerOptions& options, const std::deque<Ending>& endings) {
  std::string out;
  out.push_back(static_cast<char>(kVersion));
  const unsigned flags = (options.sandbox ? kSandbox : 0u) | (options.temporary ? kTemporary : 0u);
  out.push_back(static_cast<char>(flags));
  append_varint(out, static_cast<uint64_t>(options.lease_ms));
  append_varint(out, options.max_deliveries);
  append_varint(out, options.max_open_ranges);
  append_list(out, options.filter_tenants);
  append_list(out, options.filter_names);
  append_list(out, options.filter_sources);
  const size_t count = std::min(endings.size(), kDurableEndings);
  append_varint(out, count);
  for (size_t i = endings.size() - count; i < endings.size(); ++i) {
    const Ending& ending = endings[i];
    append_varint(out, ending.lease);
    out.push_back(static_cast<char>(ending.kind));
    append_varint(out, ending.acked);
    append_varint(out, ending.nacked);
    append_varint(out, ending.rejected);
    append_varint(out, ending.dead_lettered);
  }
  return out;
}

bool decode_note(std::string_view note, ConsumerOptions* options, std::deque<Ending>* endings) {
  ByteReader in(note);
  if (in.le<uint8_t>() != kVersion) return false;
  const auto flags = in.le<uint8_t>();
  options->sandbox = (flags & kSandbox) != 0;
  options->temporary = (flags & kTemporary) != 0;
  options->lease_ms = static_cast<int64_t>(in.varint());
  options->max_deliveries = in.varint();
  options->max_open_ranges = in.varint();
  options->filter_tenants = read_list(in);
  options->filter_names = read_list(in);
  options->filter_sources = read_list(in);
  const uint64_t count = in.varint();
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    Ending ending;
    ending.lease = in.varint();
    ending.kind = in.le<uint8_t>() == 0 ? EndKind::kAcked : EndKind::kReleased;
    ending.acked = in.varint();
    ending.nacked = in.varint();
    ending.rejected = in.varint();
    ending.dead_lettered = in.varint();
    if (in.ok()) endings->push_back(ending);
  }
  return in.ok();
}

}  // namespace weir::forwarder
