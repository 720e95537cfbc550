#include "forwarder/destinations/kinds.h"

#include <string>
#include <string_view>

#include "forwarder/destinations/clickhouse.h"
#include "forwarder/destinations/file.h"
#include "forwarder/destinations/http.h"
#include "forwarder/destinations/kafka.h"
#include "forwarder/destinations/postgresql.h"
#include "forwarder/destinations/redis.h"

namespace weir::forwarder {
namespace {

struct Kind {
  std::string_view type;
  Result<std::unique_ptr<Destination>> (*make)(const DestinationOptions&, const Identity&,
                                               const Clock&);
};
constexpr Kind kKinds[] = {
    {"http", make_http_destination},
    {"kafka", make_kafka_destination},
    {"clickhouse", make_clickhouse_destination},
    {"postgresql", make_postgresql_destination},
    {"redis", make_redis_destination},
    {"file", make_file_destination},
    {"stdout", make_stdout_destination},
};

}  // namespace

Result<std::unique_ptr<Destination>> make_destination(const DestinationOptions& options,
                                                      const Identity& identity,
                                                      const Clock& clock) {
  std::string known;
  for (const Kind& kind : kKinds) {
    if (kind.type == options.type) return kind.make(options, identity, clock);
    known += known.empty() ? "" : ", ";
    known += kind.type;
  }
  return fail(ErrorCode::kInvalidArgument, "destination {}: unknown type \"{}\"; known: {}",
              options.name, options.type, known);
}

}  // namespace weir::forwarder
