// Makes requests: ready HTTP/1.1 bytes whose event ids differ each time. Templates are built once;
// a request is a copy of one with its ids patched in, so that making it costs next to nothing.
// Thread: one source per load thread.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "bench/load/load_options.h"

namespace weir::bench {

struct MadeRequest {
  unsigned events = 0;      // that a correct server must accept or name duplicates
  unsigned duplicates = 0;  // of these, how many repeat an id this source sent before
  bool malformed = false;   // a correct server must answer 4xx
};

class RequestSource {
 public:
  // Ids are "<run id>-<thread, 2 digits>-<counter, 12 digits>".
  RequestSource(const LoadOptions& options, unsigned thread);

  // Replaces *out with the bytes of the next request.
  MadeRequest next(std::string* out);

  // Ids handed out so far run from 0 to this.
  uint64_t ids_used() const { return next_id_; }
  std::string id_text(uint64_t number) const;

 private:
  struct Template {
    std::string head;  // request line and headers up to the body, Content-Length in it
    std::string body;
    std::vector<size_t> id_offsets;  // in body
    double cumulative_weight = 0;
  };
  Template make_template(unsigned batch, const std::string& key) const;
  std::string event_text(std::vector<size_t>* id_offset, size_t base) const;
  std::string head_for(size_t content_length, const std::string& key) const;
  uint64_t pick_id(MadeRequest* made);

  const LoadOptions& options_;
  std::string id_prefix_;
  std::vector<std::vector<Template>> templates_;  // [key][mix entry]
  size_t next_key_ = 0;
  uint64_t next_id_ = 0;
  std::mt19937_64 random_;
};

constexpr size_t kIdDigits = 12;

}  // namespace weir::bench
