#include "forwarder/destinations/kafka.h"

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>
#include <vector>

#include "forwarder/compression.h"
#include "forwarder/limits.h"
#include "forwarder/record_body.h"
#include "storage/base/check.h"
#include "storage/base/log.h"
#include "storage/base/url_text.h"
#include "storage/base/wakeup.h"

namespace weir::forwarder {
namespace {

struct FreeConf {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
struct FreeTopic {
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};
struct FreeQueue {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
struct FreeHandle {
  void operator()(rd_kafka_t* handle) const { rd_kafka_destroy(handle); }
};

// One batch on its way: freed when its last message was reported.
struct InFlight {
  Send* send = nullptr;  // null: abandoned
  std::string batch_id;  // for the headers
  uint64_t waiting = 0;  // messages without a report
  uint64_t failed = 0;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;  // the first that failed
  std::string error_text;
  int64_t started_ns = 0;

  void fail(rd_kafka_resp_err_t with, std::string_view text) {
    // What a message is refused for counts before what passes: it will be refused again.
    const bool passes = classify_kafka(error, "", "", 2).kind == OutcomeKind::kRetry;
    if (failed++ == 0 || passes) {
      error = with;
      error_text = text;
    }
  }
};

class KafkaDestination : public Destination {
 public:
  KafkaDestination(const DestinationOptions& options, Identity identity, const Clock& clock)
      : options_(options), identity_(std::move(identity)), clock_(clock) {}

  ~KafkaDestination() override { close_handle(); }

  Status open() { return open_handle(); }

  std::unique_ptr<Encoder> make_encoder() override {
    return std::make_unique<RecordEncoder>(options_.partition_key, identity_.store_id);
  }

  void send(Send& send) override {
    if (reopen_ && in_flight_.empty()) {
      close_handle();
      if (Status opened = open_handle(); !opened) return finish_now(send, opened.error().message);
      reopen_ = false;
    }
    if (reopen_) return finish_now(send, "the producer is being replaced after a fatal error");
    auto owned = std::make_unique<InFlight>();
    InFlight& batch = *in_flight_.emplace_back(std::move(owned));
    batch.send = &send;
    batch.batch_id = send.batch_id;
    batch.started_ns = clock_.monotonic_ns();
    if (!all_fit(send.body))
      batch.fail(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                 "a message is larger than message.max.bytes");
    else
      produce(batch, send.body);
    if (batch.waiting == 0) finish(batch);
  }

  Send* take_finished() override {
    wakeup_.reset();
    rd_kafka_poll(handle_.get(), 0);
    return std::exchange(finished_, nullptr);
  }

  void abandon() override {
    for (const auto& batch : in_flight_) batch->send = nullptr;
    finished_ = nullptr;
    if (!in_flight_.empty())
      rd_kafka_purge(handle_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                        RD_KAFKA_PURGE_F_NON_BLOCKING);
  }

  int poll_fd() const override { return wakeup_.fd(); }
  int64_t deadline_ns() const override { return INT64_MAX; }

 private:
  Status set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) const {
    char why[512];
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why, sizeof why) == RD_KAFKA_CONF_OK)
      return {};
    return fail(ErrorCode::kInvalidArgument, "destination {}: {} = \"{}\": {}", options_.name, name,
                value, why);
  }

  Status open_handle() {
    std::unique_ptr<rd_kafka_conf_t, FreeConf> conf(rd_kafka_conf_new());
    WEIR_ASSIGN_OR_RETURN(const std::string brokers, kafka_brokers(options_.url));
    const std::string_view codec = content_encoding(options_.compression);
    const std::pair<std::string, std::string> ours[] = {
        {"bootstrap.servers", brokers},
        {"client.id", "weir-" + identity_.node},
        {"compression.type", std::string(codec.empty() ? "none" : codec)},
        {"linger.ms", "5"},
        {"message.timeout.ms", std::to_string(options_.request_timeout_ms)},
        // The lane bounds what is in flight; these must only be larger.
        {"queue.buffering.max.messages", "10000000"},
        {"queue.buffering.max.kbytes", "2000000"},
    };
    for (const auto& [name, value] : ours) WEIR_RETURN_IF_ERROR(set(conf.get(), name, value));
    for (const auto& [name, value] : options_.properties)
      WEIR_RETURN_IF_ERROR(set(conf.get(), name, value));
    // What the guarantees rest on is not for properties to change.
    WEIR_RETURN_IF_ERROR(set(conf.get(), "enable.idempotence", "true"));
    WEIR_RETURN_IF_ERROR(set(conf.get(), "acks", "all"));
    char limit[32];
    size_t limit_size = sizeof limit;
    if (rd_kafka_conf_get(conf.get(), "message.max.bytes", limit, &limit_size) == RD_KAFKA_CONF_OK)
      std::from_chars(limit, limit + std::strlen(limit), max_message_);

    rd_kafka_conf_set_opaque(conf.get(), this);
    rd_kafka_conf_set_dr_msg_cb(conf.get(), &KafkaDestination::on_report);
    rd_kafka_conf_set_error_cb(conf.get(), &KafkaDestination::on_error);
    rd_kafka_conf_set_log_cb(conf.get(), &KafkaDestination::on_log);
    char why[512];
    handle_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), why, sizeof why));
    if (!handle_)
      return fail(ErrorCode::kInvalidArgument, "destination {}: {}", options_.name, why);
    conf.release();  // the handle's now
    topic_.reset(rd_kafka_topic_new(handle_.get(), options_.topic.c_str(), nullptr));
    if (!topic_)
      return fail(ErrorCode::kInvalidArgument, "destination {}: topic \"{}\": {}", options_.name,
                  options_.topic, rd_kafka_err2str(rd_kafka_last_error()));
    // Reports, errors: a poll of the main queue serves them; its descriptor says when.
    queue_.reset(rd_kafka_queue_get_main(handle_.get()));
    rd_kafka_queue_cb_event_enable(queue_.get(), &KafkaDestination::on_event, this);
    return {};
  }

  // Reports of purged messages come from the poll inside of rd_kafka_flush: no batch is leaked.
  void close_handle() {
    if (!handle_) return;
    abandon();
    rd_kafka_purge(handle_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(handle_.get(), 1'000);
    rd_kafka_queue_cb_event_enable(queue_.get(), nullptr, nullptr);
    queue_.reset();
    topic_.reset();
    handle_.reset();
    in_flight_.clear();
  }

  bool all_fit(std::string_view body) const {
    Record record;
    // librdkafka counts some bytes of its own beside key and value; headers count too.
    while (next_record(&body, &record))
      if (record.key.size() + 2 * record.id.size() + record.tenant.size() + record.value.size() +
              kMessageOverhead >
          max_message_)
        return false;
    return true;
  }

  void produce(InFlight& batch, std::string_view body) {
    Record record;
    while (next_record(&body, &record)) {
      ++batch.waiting;
      const rd_kafka_resp_err_t error = produce_one(batch, record);
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
      --batch.waiting;
      batch.fail(error, rd_kafka_err2str(error));
      if (error == RD_KAFKA_RESP_ERR__FATAL) reopen_ = true;
      return;  // the rest of it comes again with the whole
    }
  }

  // librdkafka copies key, value and headers.
  rd_kafka_resp_err_t produce_one(InFlight& batch, const Record& record) {
    rd_kafka_vu_t about[8] = {};
    about[0].vtype = RD_KAFKA_VTYPE_RKT;
    about[0].u.rkt = topic_.get();
    about[1].vtype = RD_KAFKA_VTYPE_KEY;
    if (!record.key.empty()) about[1].u.mem = {as_pointer(record.key), record.key.size()};
    about[2].vtype = RD_KAFKA_VTYPE_VALUE;
    about[2].u.mem = {as_pointer(record.value), record.value.size()};
    about[3].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    about[3].u.i = RD_KAFKA_MSG_F_COPY;
    about[4].vtype = RD_KAFKA_VTYPE_OPAQUE;
    about[4].u.ptr = &batch;
    const auto header = [](rd_kafka_vu_t& to, const char* name, std::string_view value) {
      to.vtype = RD_KAFKA_VTYPE_HEADER;
      to.u.header = {name, value.data(), static_cast<ssize_t>(value.size())};
    };
    header(about[5], "id", record.id);
    header(about[6], "tenant", record.tenant);
    header(about[7], "batch_id", batch.batch_id);
    rd_kafka_error_t* const failed = rd_kafka_produceva(handle_.get(), about, std::size(about));
    if (failed == nullptr) return RD_KAFKA_RESP_ERR_NO_ERROR;
    const rd_kafka_resp_err_t error = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    return error;
  }

  static void* as_pointer(std::string_view bytes) {
    return const_cast<char*>(bytes.data());  // copied from, never written to
  }

  void finish(InFlight& batch) {
    if (Send* send = batch.send) {
      send->outcome = classify_kafka(batch.error, rd_kafka_err2name(batch.error), batch.error_text,
                                     send->events);
      // A report says that time ran out; why is what the client said of its brokers.
      if (send->outcome.network && !broker_error_.empty())
        send->outcome.detail += "; " + broker_error_;
      if (send->outcome.kind == OutcomeKind::kDelivered) broker_error_.clear();
      send->duration_ns = clock_.monotonic_ns() - batch.started_ns;
      give_back(*send);
    }
    std::erase_if(in_flight_, [&](const auto& mine) { return mine.get() == &batch; });
  }

  void finish_now(Send& send, std::string detail) {
    send.outcome = Outcome{};
    send.outcome.reason = "kafka_fatal";
    send.outcome.detail = std::move(detail);
    give_back(send);
  }

  void give_back(Send& send) {
    send.next = finished_;
    finished_ = &send;
    wakeup_.notify();
  }

  void report(const rd_kafka_message_t& message) {
    auto& batch = *static_cast<InFlight*>(message._private);
    --batch.waiting;
    // Not rd_kafka_message_errstr(): of a message that was produced it is the payload.
    if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR)
      batch.fail(message.err, rd_kafka_err2str(message.err));
    if (batch.waiting == 0) finish(batch);
  }

  static void on_report(rd_kafka_t*, const rd_kafka_message_t* message, void* self) {
    static_cast<KafkaDestination*>(self)->report(*message);
  }
  static void on_error(rd_kafka_t* handle, int error, const char* text, void* self) {
    auto& destination = *static_cast<KafkaDestination*>(self);
    if (error == RD_KAFKA_RESP_ERR__FATAL) {
      char why[512];
      rd_kafka_fatal_error(handle, why, sizeof why);
      log::error("kafka_fatal", {{"destination", destination.options_.name}, {"error", why}});
      destination.reopen_ = true;
      return;
    }
    log::warn("kafka_error", {{"destination", destination.options_.name}, {"error", text}});
    destination.broker_error_ = std::string_view(text).substr(0, kMaxSnippetBytes);
  }
  // From librdkafka's threads. What matters comes as an error or a report as well.
  static void on_log(const rd_kafka_t*, int, const char* facility, const char* text) {
    log::debug("kafka_log", {{"facility", facility}, {"text", text}});
  }
  static void on_event(rd_kafka_t*, void* self) {
    static_cast<KafkaDestination*>(self)->wakeup_.notify();
  }

  static constexpr size_t kMessageOverhead = 256;

  const DestinationOptions options_;
  const Identity identity_;
  const Clock& clock_;
  size_t max_message_ = 1'000'000;
  Wakeup wakeup_;
  std::vector<std::unique_ptr<InFlight>> in_flight_;
  Send* finished_ = nullptr;
  std::string broker_error_;  // the latest since something was delivered
  bool reopen_ = false;  // after a fatal error: a new producer once the old one's batches ended
  std::unique_ptr<rd_kafka_t, FreeHandle> handle_;
  std::unique_ptr<rd_kafka_queue_t, FreeQueue> queue_;
  std::unique_ptr<rd_kafka_topic_t, FreeTopic> topic_;
};

}  // namespace

Outcome classify_kafka(int error, std::string_view name, std::string_view text, uint64_t events) {
  Outcome outcome;
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
    outcome.kind = OutcomeKind::kDelivered;
    outcome.reason = "delivered";
    return outcome;
  }
  outcome.status = error;
  outcome.detail = fmt::format("{}: {}", name, text.substr(0, kMaxSnippetBytes));
  switch (error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      outcome.kind = events > 1 ? OutcomeKind::kSplit : OutcomeKind::kReject;
      outcome.reason = "too_large";
      break;
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
      outcome.kind = events > 1 ? OutcomeKind::kSplit : OutcomeKind::kReject;
      outcome.reason = "kafka_invalid";
      break;
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
      outcome.network = true;
      outcome.reason = "network";
      break;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
      outcome.reason = "queue_full";
      break;
    default:
      outcome.reason = "kafka_error";
  }
  return outcome;
}

Result<std::string> kafka_brokers(std::string_view url) {
  constexpr std::string_view kScheme = "kafka://";
  if (!url.starts_with(kScheme) || url.size() == kScheme.size() ||
      url.find_first_of("/@? ", kScheme.size()) != std::string_view::npos)
    return fail(ErrorCode::kInvalidArgument, "\"{}\" is not kafka://host:port[,host:port…]",
                url_text(url));
  return std::string(url.substr(kScheme.size()));
}

Result<std::unique_ptr<Destination>> make_kafka_destination(const DestinationOptions& options,
                                                            const Identity& identity,
                                                            const Clock& clock) {
  auto destination = std::make_unique<KafkaDestination>(options, identity, clock);
  WEIR_RETURN_IF_ERROR(destination->open());
  return destination;
}

}  // namespace weir::forwarder
