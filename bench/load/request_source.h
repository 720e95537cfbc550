// Makes requests: ready HTTP/1.1 bytes whose event ids differ each time. Templates are built once;
// a request is a copy of one with its ids patched in, so that making it costs next to nothing.
// Thread: one source per load thread.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "bench/load/body_compressor.h"
#include "bench/load/load_options.h"
#include "bench/load/request_shapes.h"

namespace weir::bench {

struct MadeRequest {
  unsigned events = 0;      // that a correct server must accept or name duplicates
  unsigned duplicates = 0;  // of these, how many repeat an id this source sent before
  bool malformed = false;   // a correct server must answer 4xx
};

constexpr size_t kIdDigits = 12;

// "<run id>-<thread, 4 digits>-4000-8000-<counter, 12 digits>": a UUID when the run id has the 8
// hexadecimal digits it has by default.
std::string id_prefix(const LoadOptions& options, unsigned thread);

class RequestSource {
 public:
  // options.shape must exist, and options.mix suit it.
  RequestSource(const LoadOptions& options, unsigned thread);

  // Replaces *out with the bytes of the next request.
  MadeRequest next(std::string* out);

  // Ids handed out so far run from 0 to this.
  uint64_t ids_used() const { return next_id_; }
  std::string id_text(uint64_t number) const;
  const RequestShape& shape() const { return shape_; }

 private:
  struct Template {
    std::string text;  // the head, Content-Length included unless the body is compressed; the body
    size_t body_at = 0;
    std::vector<size_t> id_offsets;  // in text: where a counter's digits go
    std::string head;                // without Content-Length and the empty line
    double cumulative_weight = 0;
  };
  Template make_template(const MixEntry& entry, const std::string& key) const;
  void append_marked(std::string* to, std::string_view text, const std::string& key, size_t fill,
                     std::vector<size_t>* id_offsets, uint64_t fill_seed = 0) const;
  std::string event_text(size_t wanted_bytes, const std::string& key, uint64_t seed,
                         std::vector<size_t>* id_offsets) const;
  bool names_key() const;
  uint64_t pick_id(MadeRequest* made);
  bool happens(double share);
  void make_malformed(const Template& like, std::string* out);

  const LoadOptions& options_;
  const RequestShape& shape_;
  std::string id_prefix_;
  BodyCompressor compressor_;
  std::vector<std::vector<Template>> templates_;  // [key][mix entry]
  size_t next_key_ = 0;
  size_t next_broken_ = 0;
  uint64_t next_id_ = 0;
  std::mt19937_64 random_;
  std::string body_;
};

}  // namespace weir::bench
