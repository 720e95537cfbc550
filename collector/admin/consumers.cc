#include "collector/admin/consumers.h"

#include <algorithm>

#include "collector/admin/consumer_json.h"
#include "collector/admin/seek_body.h"
#include "collector/event/json_value.h"

namespace weir::admin {
namespace {

using event::JsonValue;
using forwarder::ConsumerOptions;
using forwarder::PullCall;
using forwarder::PullKind;

constexpr int64_t kAskTimeoutNs = 15'000'000'000;
constexpr int64_t kMaxSeconds = 100LL * 366 * 86'400;

auto wrong(std::string_view name, std::string_view wanted) {
  return fail(ErrorCode::kInvalidArgument, "\"{}\" must be {}", name, wanted);
}

Status read_number(std::string_view name, const JsonValue& value, int64_t min, int64_t max,
                   int64_t* to) {
  const auto number = value.integer();
  if (!number || *number < min || *number > max)
    return wrong(name, fmt::format("a whole number from {} to {}", min, max));
  *to = *number;
  return {};
}

Status read_texts(std::string_view name, const JsonValue& value, std::vector<std::string>* to) {
  if (!value.is_array()) return wrong(name, "an array of texts");
  Status status;
  value.each_element([&](JsonValue element) {
    const auto text = element.string();
    if (text)
      to->push_back(*text);
    else
      status = wrong(name, "an array of texts");
    return status.has_value();
  });
  return status;
}

Status read_filter(const JsonValue& value, ConsumerOptions& options) {
  if (!value.is_object()) return wrong("filter", "an object");
  Status status;
  value.each_member([&](std::string_view name, JsonValue member) {
    if (name == "tenants")
      status = read_texts(name, member, &options.filter_tenants);
    else if (name == "names")
      status = read_texts(name, member, &options.filter_names);
    else if (name == "sources")
      status = read_texts(name, member, &options.filter_sources);
    else
      status = fail(ErrorCode::kInvalidArgument,
                    "\"filter\" has tenants, names and sources, not \"{}\"", name);
    return status.has_value();
  });
  return status;
}

Status read_option(std::string_view name, const JsonValue& value, ConsumerOptions& options) {
  int64_t number = 0;
  if (name == "name") {
    options.lane.name = value.string().value_or("");
  } else if (name == "from") {
    const std::string from = value.string().value_or("");
    if (from != "earliest" && from != "latest") return wrong(name, "earliest or latest");
    options.lane.from_latest = from == "latest";
  } else if (name == "lease_seconds") {
    WEIR_RETURN_IF_ERROR(read_number(name, value, 1, kMaxSeconds, &number));
    options.lease_ms = number * 1000;
  } else if (name == "max_deliveries") {
    WEIR_RETURN_IF_ERROR(read_number(name, value, 0, 1'000'000, &number));
    options.max_deliveries = static_cast<uint64_t>(number);
  } else if (name == "max_idle_seconds") {
    WEIR_RETURN_IF_ERROR(read_number(name, value, 0, kMaxSeconds, &number));
    options.lane.max_idle_ms = number * 1000;
  } else if (name == "sandbox" || name == "temporary") {
    const auto flag = value.boolean();
    if (!flag) return wrong(name, "true or false");
    (name == "sandbox" ? options.sandbox : options.temporary) = *flag;
  } else if (name == "filter") {
    return read_filter(value, options);
  } else {
    return fail(ErrorCode::kInvalidArgument, "a consumer has no option \"{}\"", name);
  }
  return {};
}

Result<ConsumerOptions> read_consumer(std::string_view body) {
  ConsumerOptions options;
  options.lane.max_idle_ms = forwarder::kDefaultMaxIdleMs;
  WEIR_ASSIGN_OR_RETURN(const JsonValue value, JsonValue::check(body));
  if (!value.is_object()) return wrong("body", "a JSON object with a \"name\"");
  Status status;
  value.each_member([&](std::string_view name, JsonValue member) {
    status = read_option(name, member, options);
    return status.has_value();
  });
  WEIR_RETURN_IF_ERROR(std::move(status));
  return options;
}

}  // namespace

Consumers::Consumers(forwarder::Leases* leases, const Clock& clock)
    : leases_(leases), clock_(clock), inbox_(wakeup_) {}

Consumers::~Consumers() {
  for (PullCall* call = inbox_.done.take_all(); call != nullptr;) {
    PullCall* const next = call->next;
    std::erase_if(lent_, [&](const auto& one) { return one.get() == call; });
    call = next;
  }
  // What a hanging disk kept from coming back is still lent: it must not be freed.
  for (auto& call : lent_) static_cast<void>(call.release());
}

std::unique_ptr<PullCall> Consumers::make_call(PullKind kind, std::string_view name) {
  auto call = std::make_unique<PullCall>();
  call->kind = kind;
  call->consumer = name;
  call->holder = "admin";
  call->inbox = &inbox_;
  return call;
}

Status Consumers::ask(std::unique_ptr<PullCall> call, std::unique_ptr<PullCall>* answered) {
  if (leases_ == nullptr) return fail(ErrorCode::kUnavailable, "this server has no pull consumers");
  PullCall* const mine = call.get();
  lent_.push_back(std::move(call));
  leases_->submit(*mine);
  const int64_t deadline = Clock::system().monotonic_ns() + kAskTimeoutNs;
  while (*answered == nullptr) {
    for (PullCall* back = inbox_.done.take_all(); back != nullptr;) {
      PullCall* const next = back->next;
      const auto found = std::find_if(lent_.begin(), lent_.end(),
                                      [&](const auto& one) { return one.get() == back; });
      if (back == mine) *answered = std::move(*found);
      lent_.erase(found);
      back = next;
    }
    if (*answered != nullptr) break;
    const int64_t left = deadline - Clock::system().monotonic_ns();
    if (left <= 0)
      return fail(ErrorCode::kTimeout,
                  "the store did not answer within 15 s; whether the change was made is unknown, "
                  "look again");
    wakeup_.wait(left);
  }
  return (*answered)->status;
}

Reply Consumers::list(bool text) {
  std::unique_ptr<PullCall> answered;
  if (const Status asked = ask(make_call(PullKind::kList, ""), &answered); !asked)
    return error_reply(asked.error());
  if (text) return text_reply(consumers_text(answered->infos, clock_.wall_ms()));
  JsonWriter json;
  json.begin_object().key("consumers").begin_array();
  for (const forwarder::ConsumerInfo& info : answered->infos) write_consumer(json, info);
  json.end_array().end_object();
  return json_reply(json.take());
}

Reply Consumers::show(std::string_view name, bool text) {
  std::unique_ptr<PullCall> answered;
  if (const Status asked = ask(make_call(PullKind::kShow, name), &answered); !asked)
    return error_reply(asked.error());
  if (text) return text_reply(consumer_text(answered->infos.front(), clock_.wall_ms()));
  JsonWriter json;
  write_consumer(json, answered->infos.front());
  return json_reply(json.take());
}

Reply Consumers::create(std::string_view body) {
  auto options = read_consumer(body);
  if (!options) return error_reply(options.error());
  auto call = make_call(PullKind::kCreate, options->lane.name);
  call->create = std::move(*options);
  std::unique_ptr<PullCall> answered;
  if (const Status asked = ask(std::move(call), &answered); !asked)
    return error_reply(asked.error());
  JsonWriter json;
  write_consumer(json, answered->infos.front());
  Reply reply = json_reply(json.take());
  reply.status = 201;
  return reply;
}

Reply Consumers::remove(std::string_view name) {
  std::unique_ptr<PullCall> answered;
  if (const Status asked = ask(make_call(PullKind::kDelete, name), &answered); !asked)
    return error_reply(asked.error());
  return json_reply(R"({"deleted":1})");
}

Reply Consumers::seek(std::string_view name, std::string_view body) {
  auto call = make_call(PullKind::kSeek, name);
  bool has_to = false;
  if (const Status read = read_places(body, clock_.wall_ms(), {{"to", &call->seek, &has_to}});
      !read)
    return error_reply(read.error());
  if (!has_to) return error_reply(400, "invalid_argument", "\"to\" is missing");
  std::unique_ptr<PullCall> answered;
  if (const Status asked = ask(std::move(call), &answered); !asked)
    return error_reply(asked.error());
  JsonWriter json;
  write_seek(json, *answered);
  return json_reply(json.take());
}

Reply Consumers::replay(std::string_view name, std::string_view body) {
  auto call = make_call(PullKind::kReplay, name);
  bool has_from = false;
  bool has_to = false;
  if (const Status read =
          read_places(body, clock_.wall_ms(),
                      {{"from", &call->seek, &has_from}, {"to", &call->until, &has_to}});
      !read)
    return error_reply(read.error());
  if (!has_from) return error_reply(400, "invalid_argument", "\"from\" is missing");
  if (!has_to) call->until.kind = forwarder::SeekTarget::Kind::kLatest;
  std::unique_ptr<PullCall> answered;
  if (const Status asked = ask(std::move(call), &answered); !asked)
    return error_reply(asked.error());
  return json_reply(fmt::format("{{\"replayed\":{}}}", answered->events));
}

}  // namespace weir::admin
