#include "bench/load/request_source.h"

#include <fmt/format.h>

#include "storage/base/check.h"

namespace weir::bench {
namespace {

void put_number(char* to, uint64_t number) {
  for (size_t i = kIdDigits; i-- > 0;) {
    to[i] = static_cast<char>('0' + number % 10);
    number /= 10;
  }
}

// RFC 4648 section 4.
std::string base64(std::string_view text) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < text.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j)
      bits = bits << 8 | (i + j < text.size() ? static_cast<unsigned char>(text[i + j]) : 0u);
    for (size_t j = 0; j < 4; ++j)
      out += i + j > text.size() ? '=' : kAlphabet[bits >> (18 - 6 * j) & 63];
  }
  return out;
}

// Words of a shop, so that bodies compress about as well as real ones; different ones for every
// seed. Escapes and letters of two bytes are among them unless the text must be plain.
std::string filling(size_t bytes, bool plain, uint64_t seed) {
  static constexpr std::string_view kWords[] = {"Tasse ",
                                                "\\\"gro\u00df\\\" ",
                                                "blau ",
                                                "0.3 l; ",
                                                "sp\u00fclmaschinenfest ",
                                                "Porzellan ",
                                                "handgemacht ",
                                                "2026 ",
                                                "sku-4711 ",
                                                "rot/gelb ",
                                                "Lieferung ",
                                                "in 3 Tagen ",
                                                "19.99 EUR ",
                                                "caf\u00e9 ",
                                                "limited edition ",
                                                "no. 42 ",
                                                "best seller ",
                                                "Leinen ",
                                                "XL ",
                                                "gratis Versand ",
                                                "#sale ",
                                                "50 % off ",
                                                "organic ",
                                                "vegan ",
                                                "made in Jena ",
                                                "pre-order ",
                                                "waterproof ",
                                                "USB-C ",
                                                "1 Paar ",
                                                "Kollektion ",
                                                "ab 12 ",
                                                "neu! "};
  std::mt19937_64 random(seed);
  std::string text;
  while (!plain) {
    const std::string_view word = kWords[random() % std::size(kWords)];
    if (text.size() + word.size() > bytes) break;
    text += word;
  }
  static constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyz0123456789";
  while (text.size() < bytes) text += kPlain[random() % kPlain.size()];
  return text;
}

}  // namespace

std::string id_prefix(const LoadOptions& options, unsigned thread) {
  return fmt::format("{}-{:04}-4000-8000-", options.run_id, thread);
}

RequestSource::RequestSource(const LoadOptions& options, unsigned thread)
    : options_(options),
      shape_(*find_shape(options.shape)),
      id_prefix_(id_prefix(options, thread)),
      compressor_(shape_.get ? BodyCoding::kNone : options.coding),
      random_(0x5eed + thread) {
  const std::vector<std::string> keys =
      options.keys.empty() ? std::vector<std::string>{""} : options.keys;
  for (const std::string& key : keys) {
    double weight = 0;
    std::vector<Template>& of_key = templates_.emplace_back();
    for (const MixEntry& entry : options.mix) {
      WEIR_CHECK(entry.batch == 1 || shape_.batches);
      of_key.push_back(make_template(entry, key));
      weight += entry.weight;
      of_key.back().cumulative_weight = weight;
    }
  }
}

std::string RequestSource::id_text(uint64_t number) const {
  return fmt::format("{}{:012}", id_prefix_, number);
}

// Appends text with its @…@ marks replaced.
void RequestSource::append_marked(std::string* to, std::string_view text, const std::string& key,
                                  size_t fill, std::vector<size_t>* id_offsets,
                                  uint64_t fill_seed) const {
  while (!text.empty()) {
    const size_t at = text.find('@');
    to->append(text.substr(0, at));
    if (at == std::string_view::npos) return;
    text.remove_prefix(at);
    const size_t end = text.find('@', 1);
    if (end == std::string_view::npos) {
      to->append(text);
      return;
    }
    const std::string_view mark = text.substr(0, end + 1);
    text.remove_prefix(mark.size());
    if (mark == "@ID@") {
      to->append(id_prefix_);
      id_offsets->push_back(to->size());
      to->append(kIdDigits, '0');
    } else if (mark == "@KEY@") {
      to->append(key.empty() ? "bench" : key);
    } else if (mark == "@BASIC@") {
      to->append(base64((key.empty() ? "bench" : key) + ":"));
    } else if (mark == "@FILL@") {
      to->append(filling(fill, shape_.plain_fill, fill_seed));
    } else {  // an @ of the text itself
      to->append(mark.substr(0, mark.size() - 1));
      text = {mark.data() + mark.size() - 1, text.size() + 1};
    }
  }
}

// One event of wanted_bytes, or as few more as the shape needs.
std::string RequestSource::event_text(size_t wanted_bytes, const std::string& key, uint64_t seed,
                                      std::vector<size_t>* id_offsets) const {
  std::string bare;
  id_offsets->clear();
  append_marked(&bare, shape_.event, key, 0, id_offsets);
  const bool use_short = bare.size() > wanted_bytes && !shape_.short_event.empty();
  const std::string_view form = use_short ? shape_.short_event : shape_.event;
  if (use_short) {
    bare.clear();
    append_marked(&bare, form, key, 0, id_offsets);
  }
  id_offsets->clear();
  std::string text;
  append_marked(&text, form, key, wanted_bytes - std::min(wanted_bytes, bare.size()), id_offsets,
                seed);
  return text;
}

// Whether the shape has a place of its own for the write key.
bool RequestSource::names_key() const {
  for (const std::string_view text :
       {shape_.headers, shape_.open, shape_.close, shape_.batch_open, shape_.event})
    if (text.find("@KEY@") != std::string_view::npos ||
        text.find("@BASIC@") != std::string_view::npos)
      return true;
  return false;
}

RequestSource::Template RequestSource::make_template(const MixEntry& entry,
                                                     const std::string& key) const {
  Template made;
  const bool batch = entry.batch > 1;
  std::string& head = made.head;
  head = shape_.get ? "GET " : "POST ";
  head += options_.url.has_path                 ? options_.url.path
          : batch && !shape_.batch_path.empty() ? std::string(shape_.batch_path)
                                                : std::string(shape_.path);
  std::vector<size_t> in_event;
  if (shape_.get) {
    const std::string event = event_text(entry.event_bytes, key, 0, &in_event);
    for (const size_t offset : in_event) made.id_offsets.push_back(head.size() + offset);
    head += event;
  }
  head += fmt::format(" HTTP/1.1\r\nHost: {}:{}\r\n", options_.url.host, options_.url.port);
  std::vector<size_t> none;
  append_marked(&head, shape_.headers, key, 0, &none);
  if (!compressor_.name().empty())
    head += fmt::format("Content-Encoding: {}\r\n", compressor_.name());
  if (!key.empty() && !names_key()) head += "X-Write-Key: " + key + "\r\n";
  for (const std::string& header : options_.headers) head += header + "\r\n";
  if (shape_.get) {
    made.text = head + "\r\n";
    made.body_at = made.text.size();
    return made;
  }
  std::string body;
  std::vector<size_t> in_body;
  append_marked(&body, batch && !shape_.batch_open.empty() ? shape_.batch_open : shape_.open, key,
                0, &none);
  for (unsigned i = 0; i < entry.batch; ++i) {
    if (i > 0) body += shape_.separator;
    const std::string event = event_text(entry.event_bytes, key, i, &in_event);
    for (const size_t offset : in_event) in_body.push_back(body.size() + offset);
    body += event;
  }
  append_marked(&body, batch && !shape_.batch_close.empty() ? shape_.batch_close : shape_.close,
                key, 0, &none);
  made.text = head + fmt::format("Content-Length: {}\r\n\r\n", body.size());
  made.body_at = made.text.size();
  for (const size_t offset : in_body) made.id_offsets.push_back(made.body_at + offset);
  made.text += body;
  return made;
}

bool RequestSource::happens(double share) {
  return share > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < share;
}

uint64_t RequestSource::pick_id(MadeRequest* made) {
  if (next_id_ > 0 && happens(options_.duplicates)) {
    ++made->duplicates;
    return std::uniform_int_distribution<uint64_t>(0, next_id_ - 1)(random_);
  }
  return next_id_++;
}

// Cut off, not JSON at all, not UTF-8, and nothing but a bracket too many.
void RequestSource::make_malformed(const Template& like, std::string* out) {
  static constexpr std::string_view kBroken[] = {R"({"name":"broken","properties":{"a":[1,2})",
                                                 "name=broken&a=1", "{\"name\":\"\xff\xfe\"}",
                                                 R"({"name":"broken"}])"};
  const std::string_view body = compressor_.compress(kBroken[next_broken_++ % std::size(kBroken)]);
  *out = like.head + fmt::format("Content-Length: {}\r\n\r\n", body.size());
  out->append(body);
}

MadeRequest RequestSource::next(std::string* out) {
  const std::vector<Template>& of_key = templates_[next_key_];
  next_key_ = next_key_ + 1 == templates_.size() ? 0 : next_key_ + 1;
  const Template* chosen = &of_key.front();
  if (of_key.size() > 1) {
    const double at =
        std::uniform_real_distribution<double>(0, of_key.back().cumulative_weight)(random_);
    while (chosen->cumulative_weight < at && chosen != &of_key.back()) ++chosen;
  }
  MadeRequest made;
  if (!shape_.get && happens(options_.malformed)) {
    made.malformed = true;
    make_malformed(*chosen, out);
    return made;
  }
  made.events = static_cast<unsigned>(chosen->id_offsets.size());
  if (compressor_.name().empty()) {
    out->assign(chosen->text);
    for (const size_t offset : chosen->id_offsets) put_number(out->data() + offset, pick_id(&made));
    return made;
  }
  body_.assign(chosen->text, chosen->body_at);
  for (const size_t offset : chosen->id_offsets)
    put_number(body_.data() + offset - chosen->body_at, pick_id(&made));
  const std::string_view body = compressor_.compress(body_);
  out->assign(chosen->head);
  fmt::format_to(std::back_inserter(*out), "Content-Length: {}\r\n\r\n", body.size());
  out->append(body);
  return made;
}

}  // namespace weir::bench
