#include "collector/event/body_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "storage/base/check.h"

namespace weir::event {
namespace {

// Up to this size a native body without line breaks is read as one event first: nearly all are.
constexpr size_t kOneEventFirstBytes = 4 << 10;
constexpr unsigned kBlankLinesPerStep = 1024;
// Elements of an array are parsed from windows of this size: some forty events of 400 bytes.
#ifdef WEIR_TINY_LIMITS
constexpr size_t kWindowBytes = 256;
#else
constexpr size_t kWindowBytes = 16 << 10;
#endif
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::string_view kEndsInside = "the text ends inside a value";

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

bool ends_scalar(char c) { return is_space(c) || c == ',' || c == '}' || c == ']' || c == ':'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

void BodyReader::start(std::string_view body, const BodyPlan& plan) {
  body_ = body;
  plan_ = plan;
  state_ = State::kStart;
  at_ = begin_ = 0;
  index_ = events_ = 0;
  in_wrapper_ = array_started_ = false;
  window_begin_ = window_end_ = alone_until_ = 0;
  members_.clear();
  batch_begin_ = batch_end_ = 0;
  name_seen_ = too_many_members_ = in_value_ = after_member_ = false;
  name_begin_ = name_end_ = 0;
  error_ = {};
}

BodyReader::Step BodyReader::next() {
  switch (state_) {
    case State::kStart:
      return begin();
    case State::kWrapper:
      return scan_wrapper();
    case State::kArray:
      return next_element();
    case State::kEvent:
      return one_event(at_, body_.size());
    case State::kLines:
      return next_line();
    case State::kDone:
      break;
  }
  return error_.kind == BodyError::Kind::kNone ? Step::kEnd : Step::kError;
}

BodyReader::Step BodyReader::begin() {
  if (body_.substr(0, kByteOrderMark.size()) == kByteOrderMark) at_ = kByteOrderMark.size();
  at_ = begin_ = skip_space(body_.data(), at_, body_.size());
  if (at_ == body_.size()) return fail(BodyError::Kind::kEmpty, at_, "the body is empty");
  if (plan_.lines) {
    state_ = State::kLines;
    return Step::kMore;
  }
  const char first = body_[at_];
  if (plan_.kind == BodyPlan::Kind::kNative && first == '[') {
    state_ = State::kArray;
    ++at_;
    return next_element();
  }
  if (first != '{') {
    if (body_.size() - at_ <= limits_.event_bytes) {
      const SyntaxError error = find_syntax_error(body_.substr(at_), limits_.depth);
      if (error.found()) return fail(BodyError::Kind::kSyntax, at_ + error.offset, error.reason);
    }
    return fail(BodyError::Kind::kNotAnObject, at_, "expected an object");
  }
  if (plan_.kind == BodyPlan::Kind::kOneObject) return one_event(at_, body_.size());
  if (plan_.kind == BodyPlan::Kind::kNative) return begin_native();
  state_ = State::kWrapper;
  ++at_;
  return Step::kMore;
}

// An object on a native path is an event, a wrapper, or the first line of NDJSON.
BodyReader::Step BodyReader::begin_native() {
  const std::string_view rest = body_.substr(at_);
  const bool small = rest.size() <= std::min(kOneEventFirstBytes, limits_.event_bytes);
  if (small && std::memchr(rest.data(), '\n', rest.size()) == nullptr &&
      parser_->parse_object(rest)) {
    const bool wrapper = parser_->has(Scope::kTop, Word::kEvents) &&
                         parser_->token(Scope::kTop, Word::kEvents).type == ValueType::kArray &&
                         parser_->first(Scope::kTop, field_words(Field::kName)) == nullptr;
    if (!wrapper) {
      at_ = body_.size();
      state_ = State::kDone;
      return accept(trim(rest));
    }
  }
  state_ = State::kWrapper;
  ++at_;
  return Step::kMore;
}

// The body from `begin` to `end` is one event and nothing else.
BodyReader::Step BodyReader::one_event(size_t begin, size_t end) {
  const std::string_view text = trim(body_.substr(begin, end - begin));
  if (text.size() > limits_.event_bytes)
    return fail(BodyError::Kind::kEventTooLarge, begin, "the event is too large");
  if (!parser_->parse_object(text)) {
    const SyntaxError error = parser_->error();
    return syntax_error(begin + error.offset, error.reason);
  }
  at_ = end;
  state_ = State::kDone;
  return accept(text);
}

// ---- wrappers

// Walks over the members of the outer object without looking into their values, as far as one step
// goes.
BodyReader::Step BodyReader::scan_wrapper() {
  const size_t limit = std::min(body_.size(), at_ + kScanStepBytes);
  while (at_ < limit) {
    if (in_value_) {
      at_ = scan_container(scan_, body_.data(), at_, limit);
      if (scan_.depth > 0) break;
      in_value_ = false;
      if (!scan_member()) return Step::kError;
    }
    at_ = skip_space(body_.data(), at_, body_.size());
    if (at_ == body_.size()) break;
    const char c = body_[at_];
    if (c == '}' && (after_member_ || name_begin_ == 0)) {
      ++at_;
      return end_wrapper();
    }
    if (after_member_) {
      if (c != ',') return syntax_error(at_, "expected ',' or '}'");
      at_ = skip_space(body_.data(), at_ + 1, body_.size());
      if (at_ == body_.size()) break;
    }
    if (!begin_value()) return Step::kError;
  }
  if (at_ >= body_.size()) return syntax_error(body_.size(), kEndsInside);
  return Step::kMore;
}

// Reads `"name" :` and the value's beginning; scalars whole.
bool BodyReader::begin_value() {
  const char* const text = body_.data();
  const size_t end = body_.size();
  if (text[at_] != '"') return syntax_error(at_, "expected a member name in quotes"), false;
  name_begin_ = at_;
  name_end_ = scan_string(text, at_, end);
  if (name_end_ == std::string_view::npos) return syntax_error(end, kEndsInside), false;
  at_ = skip_space(text, name_end_, end);
  if (at_ == end) return syntax_error(end, kEndsInside), false;
  if (text[at_] != ':') return syntax_error(at_, "expected ':' after the member name"), false;
  value_begin_ = at_ = skip_space(text, at_ + 1, end);
  if (at_ == end) return syntax_error(end, kEndsInside), false;
  after_member_ = false;
  if (text[at_] == '{' || text[at_] == '[') {
    in_value_ = true;
    scan_ = {};
    return true;
  }
  at_ = value_end(at_);
  return at_ != 0 && scan_member();
}

// The value that began at value_begin_ ended at at_.
bool BodyReader::scan_member() {
  after_member_ = true;
  const std::string_view name = body_.substr(name_begin_ + 1, name_end_ - name_begin_ - 2);
  if (name == plan_.batch) {
    if (batch_end_ != 0)
      return syntax_error(name_begin_, "the member with the events is repeated"), false;
    batch_begin_ = value_begin_;
    batch_end_ = at_;
    return true;
  }
  if (members_.size() == kMaxMembers) {
    too_many_members_ = true;
    return true;
  }
  const Word word = find_word(name);
  if (word != Word::kNone && kWordTable[static_cast<size_t>(word)].field == Field::kName)
    name_seen_ = true;
  members_.push_back({name, body_.substr(value_begin_, at_ - value_begin_), word});
  return true;
}

BodyReader::Step BodyReader::end_wrapper() {
  const size_t object_end = at_;
  at_ = skip_space(body_.data(), at_, body_.size());
  const bool native = plan_.kind == BodyPlan::Kind::kNative;
  if (at_ < body_.size()) {
    // More text on a later line: NDJSON, read again line by line.
    const bool new_line =
        body_.substr(object_end, at_ - object_end).find('\n') != std::string_view::npos;
    if (!native || !new_line) return syntax_error(at_, "unexpected text after the value");
    state_ = State::kLines;
    at_ = begin_;
    return Step::kMore;
  }
  if (native) return end_native_object();
  return head();
}

BodyReader::Step BodyReader::end_native_object() {
  const bool wrapper = batch_end_ != 0 && body_[batch_begin_] == '[' && !name_seen_;
  if (wrapper) return head();
  members_.clear();
  state_ = State::kEvent;
  at_ = begin_;
  return Step::kMore;
}

BodyReader::Step BodyReader::head() {
  in_wrapper_ = true;
  size_t size = 0;
  for (const Member& member : members_) size += member.name.size() + member.value.size() + 4;
  if (too_many_members_ || size > limits_.envelope_bytes)
    return fail(BodyError::Kind::kEnvelopeTooLarge, begin_,
                "the fields beside the events are too large");
  if (!members_are_valid()) return Step::kError;
  const char wanted = plan_.batch_is_event ? '{' : '[';
  if (batch_end_ == 0 || body_[batch_begin_] != wanted) {
    const std::string_view other = body_.substr(batch_begin_, batch_end_ - batch_begin_);
    if (batch_end_ != 0 && other.size() <= limits_.event_bytes && !parser_->check_value(other))
      return syntax_error(batch_begin_ + parser_->error().offset, parser_->error().reason);
    return fail(BodyError::Kind::kMissingBatch, begin_, "the member with the events is missing");
  }
  at_ = plan_.batch_is_event ? batch_begin_ : batch_begin_ + 1;
  state_ = State::kArray;
  return Step::kHead;
}

bool BodyReader::members_are_valid() {
  for (const Member& member : members_) {
    const std::string_view name(member.name.data() - 1, member.name.size() + 2);
    for (const std::string_view text : {name, member.value}) {
      if (parser_->check_value(text)) continue;
      const SyntaxError error = parser_->error();
      syntax_error(static_cast<size_t>(text.data() - body_.data()) + error.offset, error.reason);
      return false;
    }
  }
  return true;
}

const BodyReader::Member* BodyReader::member(uint64_t words) const {
  const Member* found = nullptr;
  for (const Member& candidate : members_) {
    if (candidate.word == Word::kNone || !(word_bit(candidate.word) & words)) continue;
    // The preferred word; of a repeated one the last.
    if (found == nullptr || candidate.word <= found->word) found = &candidate;
  }
  return found;
}

std::string_view BodyReader::envelope(Arena& arena) const {
  constexpr uint64_t kSecrets = field_words(Field::kWriteKey);
  size_t size = 0;
  for (const Member& member : members_) size += member.name.size() + member.value.size() + 4;
  if (size == 0) return {};
  char* const start = arena.allocate(size + 1);
  char* to = start;
  const auto put = [&](std::string_view bytes) {
    std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  };
  for (const Member& member : members_) {
    if (member.word != Word::kNone && (word_bit(member.word) & kSecrets)) continue;
    put(to == start ? "{\"" : ",\"");
    put(member.name);
    put("\":");
    put(member.value);
  }
  if (to != start) put("}");
  const auto used = static_cast<size_t>(to - start);
  arena.shrink_last(size + 1 - used);
  return {start, used};
}

// ---- arrays

BodyReader::Step BodyReader::next_element() {
  const char* const text = body_.data();
  const size_t end = body_.size();
  if (in_wrapper_ && plan_.batch_is_event) {
    if (array_started_) {
      at_ = end;
      state_ = State::kDone;
      return Step::kEnd;
    }
    array_started_ = true;
    return element(at_);
  }
  at_ = skip_space(text, at_, end);
  if (at_ == end) return syntax_error(end, kEndsInside);
  if (text[at_] == ']') return end_array();
  if (array_started_) {
    if (text[at_] != ',') return syntax_error(at_, "expected ',' or ']'");
    at_ = skip_space(text, at_ + 1, end);
    if (at_ == end) return syntax_error(end, kEndsInside);
  }
  array_started_ = true;
  return element(at_);
}

// Finds the structure of what follows, up to the end of some object.
bool BodyReader::open_window(size_t begin) {
  window_begin_ = begin;
  std::string_view text = body_.substr(begin, kWindowBytes);
  window_end_ = begin + text.size();
  if (window_end_ < body_.size()) {
    const size_t cut = text.rfind("},");
    if (cut == std::string_view::npos) return false;
    text = text.substr(0, cut + 1);
    window_end_ = begin + text.size();
  }
  if (!parser_->begin_values(text)) return false;
  window_id_ = parser_->structure_id();
  return true;
}

// The end of the object at `begin` if it is valid and the window has all of it. Otherwise 0, and
// it is to be looked at alone, as everything in this window: a window is opened at most twice.
size_t BodyReader::element_in_window(size_t begin) {
  if (begin < alone_until_) return 0;
  bool fresh = window_id_ != parser_->structure_id() || begin >= window_end_;
  bool open = !fresh || open_window(begin);
  size_t size = open ? parser_->parse_value(begin - window_begin_) : 0;
  if (size == 0 && !fresh) {  // perhaps it only crosses the window's end
    open = open_window(begin);
    size = open ? parser_->parse_value(0) : 0;
  }
  const size_t end = window_begin_ + size;
  if (size != 0 && end - begin <= limits_.event_bytes) return end;
  alone_until_ = window_end_;
  return 0;
}

BodyReader::Step BodyReader::element(size_t begin) {
  if (body_[begin] == '{') {
    const size_t in_window = element_in_window(begin);
    if (in_window != 0) {
      at_ = in_window;
      return accept(body_.substr(begin, in_window - begin));
    }
  }
  const size_t end = value_end(begin);
  if (end == 0) return Step::kError;
  at_ = end;
  const std::string_view text = body_.substr(begin, end - begin);
  const bool object = text.front() == '{';
  if (object ? parser_->parse_object(text) : parser_->check_value(text))
    return object ? accept(text) : reject(text, "not_an_object", {begin, "expected an object"});
  const SyntaxError error = parser_->error();
  return syntax_error(begin + error.offset, error.reason);
}

// Behind the last element of an array; a wrapper's remaining bytes were already walked over.
BodyReader::Step BodyReader::end_array() {
  ++at_;
  if (in_wrapper_) {
    WEIR_CHECK(at_ == batch_end_, "at={} batch_end={}", at_, batch_end_);
    at_ = body_.size();
  } else {
    at_ = skip_space(body_.data(), at_, body_.size());
    if (at_ < body_.size()) return syntax_error(at_, "unexpected text after the value");
  }
  state_ = State::kDone;
  return Step::kEnd;
}

size_t BodyReader::value_end(size_t begin) {
  const char* const text = body_.data();
  // One byte more than allowed, so that "too large" and "just fits" differ.
  const size_t limit = std::min(body_.size(), begin + limits_.event_bytes + 1);
  size_t end = begin;
  bool ended = true;
  if (text[begin] == '{' || text[begin] == '[') {
    ContainerScan scan;
    end = scan_container(scan, text, begin, limit);
    ended = scan.depth == 0;
  } else if (text[begin] == '"') {
    end = scan_string(text, begin, limit);
    ended = end != std::string_view::npos;
  } else {
    while (end < limit && !ends_scalar(text[end])) ++end;
  }
  if (ended && end - begin > limits_.event_bytes) ended = false;
  if (ended && end > begin) return end;
  if (!ended && body_.size() - begin > limits_.event_bytes) {
    fail(BodyError::Kind::kEventTooLarge, begin, "one value is too large");
    return 0;
  }
  if (end == begin) {
    syntax_error(begin, "expected a value");
    return 0;
  }
  syntax_error(body_.size(), kEndsInside);
  return 0;
}

// ---- NDJSON

BodyReader::Step BodyReader::next_line() {
  for (unsigned blank = 0; at_ < body_.size(); ++blank) {
    const void* const found = std::memchr(body_.data() + at_, '\n', body_.size() - at_);
    const size_t end = found == nullptr
                           ? body_.size()
                           : static_cast<size_t>(static_cast<const char*>(found) - body_.data());
    const size_t begin = at_;
    at_ = end == body_.size() ? end : end + 1;
    const size_t text = skip_space(body_.data(), begin, end);
    if (text < end) return line(text, end);
    if (blank == kBlankLinesPerStep) return Step::kMore;
  }
  state_ = State::kDone;
  return Step::kEnd;
}

BodyReader::Step BodyReader::line(size_t begin, size_t end) {
  const std::string_view text = trim(body_.substr(begin, end - begin));
  if (text.size() > limits_.event_bytes)
    return reject(text, "event_too_large", {begin, "the event is too large"});
  if (parser_->parse_object(text)) return accept(text);
  SyntaxError error = parser_->error();
  const bool other = text.front() != '{' && !find_syntax_error(text, limits_.depth).found();
  error.offset += begin;
  return reject(text, other ? "not_an_object" : "invalid_json", error);
}

// ---- results

BodyReader::Step BodyReader::accept(std::string_view text) {
  if (!count_event()) return Step::kError;
  event_ = text;
  return Step::kEvent;
}

BodyReader::Step BodyReader::reject(std::string_view text, std::string_view reason,
                                    SyntaxError detail) {
  if (!count_event()) return Step::kError;
  event_ = text;
  rejection_ = {reason, detail};
  return Step::kRejected;
}

bool BodyReader::count_event() {
  if (events_ == limits_.events) {
    fail(BodyError::Kind::kTooManyEvents, at_, "too many events in one request");
    return false;
  }
  index_ = events_++;
  return true;
}

BodyReader::Step BodyReader::fail(BodyError::Kind kind, size_t offset, std::string_view reason) {
  error_ = {kind, offset, reason};
  state_ = State::kDone;
  return Step::kError;
}

// Of a body that can be read slowly in one go the first error is reported, wherever the cutting
// stumbled.
BodyReader::Step BodyReader::syntax_error(size_t offset, std::string_view reason) {
  if (body_.size() - begin_ <= limits_.event_bytes) {
    const SyntaxError error = find_syntax_error(body_.substr(begin_), limits_.depth + 2);
    if (error.found() && begin_ + error.offset <= offset)
      return fail(BodyError::Kind::kSyntax, begin_ + error.offset, error.reason);
  }
  return fail(BodyError::Kind::kSyntax, offset, reason);
}

}  // namespace weir::event
