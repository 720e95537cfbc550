// How requests look on the wire: one row per protocol, written after requests recorded from the
// vendors' own SDKs, so that a load test exercises what browsers and servers really send.
// Thread: constant data.
#pragma once

#include <span>
#include <string_view>

namespace weir::bench {

// In every text: @ID@ is the event's id (36 characters, a UUID), @KEY@ the write key, @BASIC@ the
// key as the user of HTTP basic authentication, @FILL@ where text is added up to the wanted size.
struct RequestShape {
  std::string_view name = {};
  std::string_view what = {};        // one line for --help
  std::string_view path = {};        // with query; used unless the URL names a path
  std::string_view batch_path = {};  // for more than one event; empty: the same
  std::string_view headers = {};     // lines ending in CR LF
  std::string_view open = {};        // around the events
  std::string_view close = {};
  std::string_view batch_open = {};  // around more than one; empty: as around one
  std::string_view batch_close = {};
  std::string_view separator = {};  // between events
  std::string_view event = {};
  std::string_view short_event = {};  // when fewer bytes are wanted than event has; empty: none
  bool batches = true;                // takes more than one event a request
  bool get = false;                   // the event travels in the query: no body
  bool verifiable = true;             // the protocol has a place for an event's id
  bool plain_fill = false;            // filling must not need escaping
  bool checked = false;  // answers with the counts of docs/protocols.md, 4xx for what is broken
};

std::span<const RequestShape> request_shapes();
const RequestShape* find_shape(std::string_view name);  // null when there is none

}  // namespace weir::bench
