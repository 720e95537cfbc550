#include "collector/pull/pull.h"

#include <algorithm>

#include "collector/admin/worker.h"
#include "collector/pull/pull_request.h"
#include "storage/base/check.h"

namespace weir::pull {
namespace {

using forwarder::PullCall;
using forwarder::PullKind;

constexpr uint64_t kMaxBody = 4 << 20;  // an ack that names every event of the largest lease

std::string_view operation_name(PullKind kind) {
  switch (kind) {
    case PullKind::kLease:
      return "lease";
    case PullKind::kAck:
      return "ack";
    case PullKind::kRenew:
      return "renew";
    case PullKind::kRelease:
      return "release";
    case PullKind::kSeek:
      return "seek";
    default:
      return "show";
  }
}

}  // namespace

PullApi::PullApi(PullDeps deps, const std::vector<admin::TokenOptions>& tokens)
    : deps_(std::move(deps)), inbox_(deps_.loop_wakeup) {
  apply(tokens);
}

PullApi::~PullApi() {
  for (PullCall* call = inbox_.done.take_all(); call != nullptr;) {
    PullCall* const next = call->next;
    pending_.erase(call);
    call = next;
  }
  // What a hanging disk kept from coming back is still lent: it must not be freed.
  for (auto& [call, pending] : pending_) static_cast<void>(pending.release());
}

void PullApi::apply(const std::vector<admin::TokenOptions>& tokens) {
  auto table = std::make_shared<const admin::AccessTable>(tokens);
  const std::lock_guard lock(access_mutex_);
  access_ = std::move(table);
}

http::HeadVerdict PullApi::on_head(const http::Request&) {
  http::HeadVerdict verdict;
  verdict.max_body_bytes = kMaxBody;
  return verdict;
}

bool PullApi::allows_origin(const http::Request&, std::string_view) { return false; }

// Token, role, consumer; fills in who asks.
bool PullApi::admit(const http::Request& request, PullCall& call, admin::Reply* refusal) {
  std::shared_ptr<const admin::AccessTable> access;
  {
    const std::lock_guard lock(access_mutex_);
    access = access_;
  }
  admin::Caller caller;
  const admin::Verdict verdict = access->check(request, admin::Need::kPuller, &caller);
  if (verdict.status != 0) {
    *refusal = admin::error_reply(verdict.status, verdict.code, verdict.message);
    return false;
  }
  if (!caller.consumers.empty() && std::find(caller.consumers.begin(), caller.consumers.end(),
                                             call.consumer) == caller.consumers.end()) {
    *refusal = admin::error_reply(403, "forbidden", "the token is not for this consumer");
    return false;
  }
  call.holder = caller.name.empty() ? std::string(request.client_ip) : caller.name;
  call.tenants = std::move(caller.tenants);
  call.may_create = deps_.may_create && access->open();
  return true;
}

void PullApi::on_request(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  if (request.path == "/livez")
    return answer(exchange, "livez", admin::json_reply(R"({"status":"ok"})"));
  auto pending = std::make_unique<Pending>();
  PullCall& call = pending->call;
  bool known = false;
  const auto kind = find_operation(request.method, request.path, &call.consumer, &known);
  call.kind = kind.value_or(PullKind::kShow);
  const std::string_view operation = operation_name(call.kind);
  // Access first: without it not even the paths are told apart.
  admin::Reply refusal;
  if (!admit(request, call, &refusal)) return answer(exchange, operation, refusal);
  if (!kind && known)
    return answer(exchange, operation,
                  admin::error_reply(405, "method_not_allowed", "not with this method"));
  if (!kind)
    return answer(exchange, operation,
                  admin::error_reply(404, "not_found", "there is nothing at this path"));
  if (const Status read = read_request(request, call); !read)
    return answer(exchange, operation,
                  admin::error_reply(400, "invalid_request", read.error().message));
  if (call.kind == PullKind::kLease && deps_.unsent_bytes() >= deps_.max_unsent_bytes)
    return answer(exchange, operation,
                  admin::error_reply(503, "busy",
                                     "too much of earlier answers was not read by its clients yet; "
                                     "ask again"));
  pending->exchange = &exchange;
  exchange.context = pending.get();
  submit(std::move(pending));
}

void PullApi::submit(std::unique_ptr<Pending> pending) {
  PullCall& call = pending->call;
  call.inbox = &inbox_;
  pending_[&call] = std::move(pending);
  deps_.leases.submit(call);
}

void PullApi::on_client_gone(http::Exchange& exchange) {
  auto* const pending = static_cast<Pending*>(exchange.context);
  if (pending == nullptr || pending->call.kind != PullKind::kLease) return;
  pending->call.cancelled.store(true);
  deps_.leases.wake();
}

void PullApi::answer_done() {
  for (PullCall* call = inbox_.done.take_all(); call != nullptr;) {
    PullCall* const next = call->next;
    const auto found = pending_.find(call);
    WEIR_CHECK(found != pending_.end(), "a call nobody made came back");
    const std::unique_ptr<Pending> pending = std::move(found->second);
    pending_.erase(found);
    const bool leased = call->kind == PullKind::kLease && call->status && !call->empty;
    if (leased) deps_.leases.release_body(call->body.size());
    if (leased && call->cancelled) {
      release(*call);
      call->empty = true;
    }
    if (pending->exchange != nullptr)
      answer(*pending->exchange, operation_name(call->kind), make_answer(*call, deps_.node));
    call = next;
  }
}

void PullApi::release(const PullCall& leased) {
  auto pending = std::make_unique<Pending>();
  pending->call.kind = PullKind::kRelease;
  pending->call.consumer = leased.consumer;
  pending->call.holder = leased.holder;
  pending->call.lease = leased.lease;
  submit(std::move(pending));
}

void PullApi::answer(http::Exchange& exchange, std::string_view operation,
                     const admin::Reply& reply) {
  Counter*& counter = answered_[{std::string(operation), reply.status}];
  if (counter == nullptr)
    counter = &deps_.metrics.counter(Metric::kPullRequests,
                                     {std::string(operation), std::to_string(reply.status)});
  counter->add();
  exchange.context = nullptr;
  admin::send_reply(exchange, reply);
}

}  // namespace weir::pull
