// What becomes of leases: a part of Consumer. Acknowledged, given back, rejected, renewed,
// expired, exhausted. docs/pull.md has the rules in the same order.
#include <algorithm>
#include <charconv>
#include <utility>

#include "forwarder/consumer.h"
#include "forwarder/limits.h"
#include "storage/base/log.h"

namespace weir::forwarder {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int kAckedStatus = 200;
constexpr std::string_view kExhausted = "max_deliveries";

// A metric label: lower case letters, digits and '_', bounded.
std::string as_label(std::string_view reason) {
  std::string label(reason.substr(0, kMaxReasonBytes));
  for (char& c : label) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) c = '_';
  }
  return label.empty() ? "rejected" : label;
}

// A requeued dead letter that was acknowledged; the store corrects the counts.
void letter_sent(storage::LaneUpdate& update, uint64_t letter) {
  storage::LaneUpdate::DeadLetterChange change;
  change.id = letter;
  change.kind = storage::LaneUpdate::DeadLetterChange::Kind::kSent;
  update.dead_letter_changes.push_back(std::move(change));
}

// What the owner of a range is once nobody has it.
std::string unowned(const storage::OpenRange& range) {
  return RangeOwner{0, RangeOwner::parse(range.owner).letter, {}}.text();
}

void add_failed(storage::LaneUpdate& update, const std::string& tenant) {
  ++update.counts.failed;
  ++update.tenants[tenant].failed;
}

}  // namespace

std::optional<uint64_t> Consumer::lease_number(std::string_view text) const {
  const std::string prefix = around_.store.batch_id(0);  // "<store id>-0"
  const size_t store_bytes = prefix.size() - 1;
  if (text.size() <= store_bytes || text.size() > store_bytes + 16 ||
      text.substr(0, store_bytes) != std::string_view(prefix).substr(0, store_bytes))
    return std::nullopt;
  text.remove_prefix(store_bytes);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (error != std::errc() || end != text.data() + text.size() || number == 0) return std::nullopt;
  return number;
}

// The same request again: the same answer, once it is durable. True when the call was dealt with.
bool Consumer::repeat(PullCall& call, uint64_t number, std::optional<EndKind> kind) {
  const auto ended = std::find_if(endings_.rbegin(), endings_.rend(),
                                  [&](const Ending& one) { return one.lease == number; });
  if (ended == endings_.rend()) return false;
  if (ended->kind != kind) {
    fail_call(call, ErrorCode::kBusy, "lease_ended",
              ended->kind == EndKind::kAcked ? "this lease was acknowledged already"
                                             : "this lease was released already");
    return true;
  }
  call.acked = ended->acked;
  call.nacked = ended->nacked;
  call.rejected = ended->rejected;
  call.dead_lettered = ended->dead_lettered;
  call.released = kind == EndKind::kReleased ? ended->nacked : 0;
  for (const auto& mark : marks_) {
    if (mark->ends != number) continue;
    mark->calls.push_back(&call);
    return true;
  }
  around_.finish(call);
  return true;
}

// The lease a call names, when it is held; otherwise the call was answered. kind: how the call ends
// it, if it does.
Consumer::Lease* Consumer::find_lease(PullCall& call, uint64_t* number,
                                      std::optional<EndKind> kind) {
  touch();
  if (broken_ || stopped_) {
    fail_call(call, ErrorCode::kUnavailable, "unavailable",
              stopped_ ? stopped_->message : broken_->message);
    return nullptr;
  }
  const auto parsed = lease_number(call.lease);
  *number = parsed.value_or(0);
  if (parsed && repeat(call, *number, kind)) return nullptr;
  auto found = leases_.find(*number);
  if (found != leases_.end() && found->second.due_ns <= around_.clock.monotonic_ns()) {
    expire_lease(*number);
    found = leases_.end();
  }
  if (found != leases_.end()) return &found->second;
  fail_call(call, ErrorCode::kBusy, "lease_expired",
            "this lease is not held: it expired, or the consumer was moved; its events are handed "
            "out again, take what you have of them as duplicates by (tenant, id)");
  return nullptr;
}

void Consumer::close_range(storage::LaneUpdate& update, const storage::OpenRange& range,
                           int status) const {
  update.close.push_back(range.number);
  storage::DeliveryRow row;
  row.batch_number = range.number;
  row.shard = range.shard;
  row.first = range.first;
  row.last = range.last;
  row.attempts = range.attempts;
  row.status = status;
  row.finished_ms = around_.clock.wall_ms();
  update.deliveries.push_back(row);
}

// ---- ack

void Consumer::ack(PullCall& call) {
  uint64_t number = 0;
  const Lease* lease = find_lease(call, &number, EndKind::kAcked);
  if (lease == nullptr) return;
  auto mark = new_mark();
  Ending ending;
  ending.lease = number;
  const Status done = call.nacks.empty() && call.rejects.empty()
                          ? ack_all(*lease, *mark, ending)
                          : ack_some(call, *lease, *mark, ending);
  if (!done) {
    const bool asked = done.error().code == ErrorCode::kInvalidArgument;
    return fail_call(call, asked ? done.error().code : ErrorCode::kUnavailable,
                     asked ? "unknown_seq" : "unavailable", done.error().message);
  }
  call.acked = ending.acked;
  call.nacked = ending.nacked;
  call.rejected = ending.rejected;
  call.dead_lettered = ending.dead_lettered;
  mark->calls.push_back(&call);
  cells_.acked.add(ending.acked);
  cells_.nacked.add(ending.nacked);
  cells_.rejected.add(ending.rejected);
  cells_.dead_lettered.add(ending.dead_lettered);
  end_lease(number, ending, *mark);
  submit(std::move(mark));
}

Status Consumer::ack_all(const Lease& lease, Mark& mark, Ending& ending) {
  TenantTally counted;
  uint64_t missing = 0;
  EventFields fields;
  for (const uint64_t number : lease.ranges) {
    const Held& held = ranges_.at(number);
    close_range(mark.update, held.range, kAckedStatus);
    if (held.letter != 0) {
      letter_sent(mark.update, held.letter);
      ++ending.acked;
      continue;
    }
    if (lease.tallied) continue;
    WEIR_RETURN_IF_ERROR(
        read_range(around_.store, held.range, &missing, [&](const storage::StoredEvent& event) {
          if (judge(event, filter_, &fields) == Fate::kSend) counted.add(fields.tenant);
        }));
  }
  const TenantTally& tenants = lease.tallied ? lease.tenants : counted;
  tenants.add_to(mark.update, &storage::OutcomeCounts::sent);
  ending.acked += tenants.total();
  return {};
}

// Cuts a lease into what was acknowledged, which is finished, runs of what was not, which become
// ranges of their own, and rejected events, which become dead letters.
class Consumer::PartialAck {
 public:
  PartialAck(Consumer& consumer, const PullCall& call, storage::LaneUpdate& update, Ending& ending)
      : consumer_(consumer), update_(update), ending_(ending) {
    for (const PullCall::Reject& reject : call.rejects) rejects_[reject.position] = reject.reason;
    for (const PullCall::Nack& nack : call.nacks)
      if (!rejects_.contains(nack.position)) nacks_[nack.position] = nack.delay_ms;
  }

  Status cut(const Held& held) {
    in_run_ = false;
    consumer_.close_range(update_, held.range, kAckedStatus);
    return consumer_.visit(held, [&](const storage::StoredEvent& event) { sort(event, held); });
  }

  // An event that is in none of the ranges.
  std::optional<Position> unknown() const {
    if (!nacks_.empty()) return nacks_.begin()->first;
    if (!rejects_.empty()) return rejects_.begin()->first;
    return std::nullopt;
  }

 private:
  void sort(const storage::StoredEvent& event, const Held& held) {
    EventFields fields;
    const Fate fate = judge(event, consumer_.filter_, &fields);
    if (held.letter == 0 && fate != Fate::kSend) return;
    const bool was_in_run = std::exchange(in_run_, false);
    if (auto reject = rejects_.extract(event.position)) {
      bury(event, fields, held, consumer_.label_of(reject.mapped()), reject.mapped());
      ++ending_.rejected;
    } else if (auto nack = nacks_.extract(event.position); !nack) {
      sent(std::string(fields.tenant), held);
      ++ending_.acked;
    } else if (consumer_.exhausted(held.range)) {
      bury(event, fields, held, std::string(kExhausted), "given back at its last delivery");
      ++ending_.dead_lettered;
    } else {
      give_back(event.position.number, held.range, nack.mapped(), was_in_run);
      ++ending_.nacked;
    }
  }

  void sent(const std::string& tenant, const Held& held) {
    if (held.letter != 0) return letter_sent(update_, held.letter);
    ++update_.counts.sent;
    ++update_.tenants[tenant].sent;
  }

  void bury(const storage::StoredEvent& event, const EventFields& fields, const Held& held,
            std::string reason, std::string detail) {
    if (held.letter != 0)
      return consumer_.fail_again(update_, held, std::move(reason), std::move(detail));
    add_failed(update_, std::string(fields.tenant));
    update_.dead_letters.push_back(
        consumer_.letter_of(event, fields, held.range, std::move(reason), std::move(detail)));
  }

  void give_back(uint64_t number, const storage::OpenRange& range, int64_t delay_ms,
                 bool was_in_run) {
    in_run_ = true;
    if (was_in_run && delay_ms == run_delay_ms_) {
      update_.put.back().last = number;
      return;
    }
    storage::OpenRange run = range;
    run.number = 0;  // given later: the store may not be asked while it reads
    run.first = run.last = number;
    run.state = storage::RangeState::kDelayed;
    run.opened_ms = consumer_.around_.clock.wall_ms();
    run.not_before_ms = run.opened_ms + delay_ms;
    run.owner = unowned(range);
    update_.put.push_back(std::move(run));
    run_delay_ms_ = delay_ms;
  }

  Consumer& consumer_;
  storage::LaneUpdate& update_;
  Ending& ending_;
  std::map<Position, std::string> rejects_;
  std::map<Position, int64_t> nacks_;
  bool in_run_ = false;  // the event before was given back
  int64_t run_delay_ms_ = 0;
};

Status Consumer::ack_some(const PullCall& call, const Lease& lease, Mark& mark, Ending& ending) {
  PartialAck partial(*this, call, mark.update, ending);
  for (const uint64_t number : lease.ranges) WEIR_RETURN_IF_ERROR(partial.cut(ranges_.at(number)));
  if (const auto unknown = partial.unknown())
    return fail(ErrorCode::kInvalidArgument,
                "event {} is not in this lease; nothing was changed, send the ack again without it",
                unknown->text());
  for (storage::OpenRange& run : mark.update.put) run.number = around_.store.next_batch_number();
  return {};
}

// A metric label of what a client gave as its reason: a bounded number of them.
std::string Consumer::label_of(std::string_view reason) {
  std::string label = as_label(reason);
  if (reasons_.contains(label)) return label;
  if (reasons_.size() >= kMaxRejectReasons) return "rejected";
  reasons_.insert(label);
  return label;
}

std::string Consumer::cut_detail(std::string detail) {
  if (detail.size() > storage::OpenRange::kMaxErrorBytes)
    detail.resize(storage::OpenRange::kMaxErrorBytes);
  return detail;
}

storage::DeadLetter Consumer::letter_of(const storage::StoredEvent& event,
                                        const EventFields& fields, const storage::OpenRange& range,
                                        std::string reason, std::string detail) const {
  storage::DeadLetter letter = copy_event(around_.store, event, fields, name());
  letter.first_attempt_ms = range.first_attempt_ms;
  letter.failed_ms = around_.clock.wall_ms();
  letter.attempts = range.attempts;
  letter.reason = std::move(reason);
  letter.detail = cut_detail(std::move(detail));
  return letter;
}

// The lease is over; what the mark puts (what was given back) is held by nobody.
void Consumer::end_lease(uint64_t number, const Ending& ending, Mark& mark) {
  for (const uint64_t range : leases_.at(number).ranges) erase(range);
  leases_.erase(number);
  const int64_t now = around_.clock.monotonic_ns();
  std::vector<storage::OpenRange> given_back = std::move(mark.update.put);
  mark.update.put.clear();
  for (const storage::OpenRange& range : given_back)
    put(mark.update, range, now + (range.not_before_ms - range.opened_ms) * kMs);
  endings_.push_back(ending);
  if (endings_.size() > kRememberedEndings) endings_.pop_front();
  mark.update.note = encode_note(options_, endings_);
  mark.ends = number;
}

// ---- release, renew

// Nobody has the range any more, and it was not tried.
void Consumer::give_back(storage::OpenRange& range) const {
  range.state = storage::RangeState::kDelayed;
  range.attempts -= std::min(range.attempts, 1u);
  range.opened_ms = range.not_before_ms = around_.clock.wall_ms();
  range.owner = unowned(range);
}

void Consumer::release(PullCall& call) {
  uint64_t number = 0;
  const Lease* lease = find_lease(call, &number, EndKind::kReleased);
  if (lease == nullptr) return;
  auto mark = new_mark();
  for (const uint64_t held : lease->ranges) {
    storage::OpenRange range = ranges_.at(held).range;
    give_back(range);
    mark->update.put.push_back(std::move(range));
  }
  Ending ending;
  ending.lease = number;
  ending.kind = EndKind::kReleased;
  ending.nacked = call.released = lease->events;
  cells_.released.add(lease->events);
  mark->calls.push_back(&call);
  end_lease(number, ending, *mark);
  submit(std::move(mark));
}

void Consumer::renew(PullCall& call) {
  uint64_t number = 0;
  Lease* lease = find_lease(call, &number, std::nullopt);
  if (lease == nullptr) return;
  auto mark = new_mark();
  const int64_t wall = around_.clock.wall_ms();
  lease->due_ns = around_.clock.monotonic_ns() + lease_ms(call) * kMs;
  call.expires_ms = wall + lease_ms(call);
  for (const uint64_t held : lease->ranges) {
    storage::OpenRange range = ranges_.at(held).range;
    erase(held);
    range.opened_ms = wall;
    range.not_before_ms = call.expires_ms;
    put(mark->update, range, lease->due_ns);
  }
  mark->calls.push_back(&call);
  submit(std::move(mark));
}

// ---- expiry, exhaustion

void Consumer::expire_due() {
  const int64_t now = around_.clock.monotonic_ns();
  while (!due_.empty() && due_.begin()->first <= now) {
    const uint64_t number = due_.begin()->second;
    if (const uint64_t lease = ranges_.at(number).lease; lease != 0)
      expire_lease(lease);
    else
      make_ready(number);
  }
}

// Nothing is written: that its time is over is what is durable about it.
void Consumer::expire_lease(uint64_t number) {
  const auto found = leases_.find(number);
  const Lease lease = std::move(found->second);
  leases_.erase(found);
  cells_.expired.add(lease.events);
  log::info("lease_expired", {{"consumer", name()},
                              {"holder", lease.holder},
                              {"events", lease.events},
                              {"delivery", lease.delivery}});
  for (const uint64_t range : lease.ranges) {
    ranges_.at(range).lease = 0;
    ranges_.at(range).expired = true;
    make_ready(range);
  }
}

void Consumer::make_ready(uint64_t number) {
  const Held& held = ranges_.at(number);
  due_.erase({held.due_ns, number});
  if (exhausted(held.range))
    exhausted_.push_back(number);
  else
    ready_.insert({held.due_ns, number});
}

bool Consumer::exhausted(const storage::OpenRange& range) const {
  return options_.max_deliveries != 0 && range.attempts >= options_.max_deliveries;
}

void Consumer::bury_exhausted() {
  while (!exhausted_.empty() && !broken_ && marks_.size() < kMaxMarksWaiting &&
         around_.clock.monotonic_ns() >= pause_until_ns_) {
    const uint64_t number = exhausted_.front();
    exhausted_.pop_front();
    // Forgotten meanwhile by a seek or by the store.
    if (ranges_.contains(number) && !bury(number)) return;
  }
}

// The events of a range become dead letters, a bounded number at a time.
bool Consumer::bury(uint64_t number) {
  constexpr const char* kWhy =
      "handed out as often as max_deliveries allows and never acknowledged";
  const Held held = ranges_.at(number);
  const storage::OpenRange& range = held.range;
  auto mark = new_mark();
  storage::OpenRange part = range;
  part.last = std::min(range.last, range.first + kBuriedPerUpdate - 1);
  uint64_t missing = 0;
  EventFields fields;
  const auto visit = [&](const storage::StoredEvent& event) {
    if (judge(event, filter_, &fields) != Fate::kSend) return;
    add_failed(mark->update, std::string(fields.tenant));
    mark->update.dead_letters.push_back(
        letter_of(event, fields, range, std::string(kExhausted), kWhy));
  };
  if (held.letter != 0) {
    fail_again(mark->update, held, std::string(kExhausted), kWhy);
  } else if (const Status read = read_range(around_.store, part, &missing, visit); !read) {
    break_off(read.error());
    return false;
  }
  close_range(mark->update, part, 0);
  erase(number);
  if (part.last < range.last) {
    storage::OpenRange rest = range;
    rest.number = around_.store.next_batch_number();
    rest.first = part.last + 1;
    rest.state = storage::RangeState::kDelayed;
    rest.owner.clear();
    put(mark->update, rest, around_.clock.monotonic_ns());
    ready_.erase({ranges_.at(rest.number).due_ns, rest.number});
    exhausted_.push_front(rest.number);
  }
  const uint64_t events =
      mark->update.dead_letters.size() + mark->update.dead_letter_changes.size();
  cells_.dead_lettered.add(events);
  log::warn("max_deliveries_reached", {{"consumer", name()},
                                       {"events", events},
                                       {"deliveries", range.attempts},
                                       {"first", Position{range.shard, range.first}.text()}});
  submit(std::move(mark));
  return true;
}

}  // namespace weir::forwarder
