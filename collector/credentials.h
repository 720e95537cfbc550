// Which write key a request names, in the order docs/protocols.md states: Authorization,
// X-Write-Key, ?key=, the body's members, site ids, the default key.
// Path: hot (per request; per event where only the events name a key).  Thread: the loop's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "collector/event/body_reader.h"
#include "collector/event/event_parser.h"
#include "collector/event/key_table.h"
#include "collector/http/base64.h"
#include "collector/protocols/adapter.h"

namespace weir {

// What a look-up found: no key named at all, an unknown one (key is null), or a known one.
struct NamedKey {
  bool named = false;
  const event::Key* key = nullptr;
};

class CredentialReader {
 public:
  NamedKey from_head(const protocols::RequestHead& head, const protocols::Adapter& adapter,
                     const event::KeyTable& table);
  NamedKey from_wrapper(const event::BodyReader& reader, const event::KeyTable& table);
  NamedKey from_event(const event::EventParser& parser, const event::KeyTable& table);

 private:
  http::BasicCredentials basic_;  // keep their capacity
  std::string text_;
  event::Arena arena_;
};

}  // namespace weir
