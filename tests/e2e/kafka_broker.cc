// A Kafka cluster for tests: librdkafka's mock brokers, told on stdin how to fail, and a consumer
// that writes every message it reads to a file. kafka_broker FILE TOPIC BROKERS PARTITIONS
//
// Prints "ready HOST:PORT,…", then answers each line of stdin with "ok":
//   down | up              every broker goes away, comes back
//   fail CODE COUNT        the next COUNT produce requests are answered with this error code
//   slow MS                every broker answers so much later
// FILE gets a line per message: id, tenant, key, batch id and value, separated by tabs.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <atomic>
#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr int kProduceRequest = 0;

rd_kafka_t* make_handle(rd_kafka_type_t type, const std::string& brokers) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char why[512];
  const auto set = [&](const char* name, const std::string& value) {
    if (rd_kafka_conf_set(conf, name, value.c_str(), why, sizeof why) != RD_KAFKA_CONF_OK)
      std::cerr << name << ": " << why << "\n";
  };
  rd_kafka_conf_set_log_cb(conf, nullptr);
  if (!brokers.empty()) set("bootstrap.servers", brokers);
  if (type == RD_KAFKA_CONSUMER) {
    set("group.id", "test");
    set("reconnect.backoff.max.ms", "200");
    set("fetch.error.backoff.ms", "50");
    set("fetch.wait.max.ms", "50");
  }
  rd_kafka_t* handle = rd_kafka_new(type, conf, why, sizeof why);
  if (handle == nullptr) std::cerr << why << "\n";
  return handle;
}

std::string_view header(const rd_kafka_message_t& message, const char* name) {
  rd_kafka_headers_t* headers = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
      rd_kafka_header_get_last(headers, name, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return {};
  return {static_cast<const char*>(value), size};
}

void consume(rd_kafka_t* consumer, const std::string& path, const std::atomic<bool>& stopping) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "w"), std::fclose);
  const auto put = [&](std::string_view text, char end) {
    std::fwrite(text.data(), 1, text.size(), file.get());
    std::fputc(end, file.get());
  };
  while (!stopping.load()) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer, 100);
    if (message == nullptr) continue;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      put(header(*message, "id"), '\t');
      put(header(*message, "tenant"), '\t');
      put({static_cast<const char*>(message->key), message->key_len}, '\t');
      put(header(*message, "batch_id"), '\t');
      put({static_cast<const char*>(message->payload), message->len}, '\n');
      std::fflush(file.get());
    }
    rd_kafka_message_destroy(message);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "kafka_broker FILE TOPIC BROKERS PARTITIONS\n";
    return 2;
  }
  const char* const topic = argv[2];
  const int brokers = std::stoi(argv[3]);
  const int partitions = std::stoi(argv[4]);
  rd_kafka_t* const host = make_handle(RD_KAFKA_PRODUCER, "");
  rd_kafka_mock_cluster_t* const cluster = rd_kafka_mock_cluster_new(host, brokers);
  rd_kafka_mock_topic_create(cluster, topic, partitions, brokers);
  const std::string addresses = rd_kafka_mock_cluster_bootstraps(cluster);

  rd_kafka_t* const consumer = make_handle(RD_KAFKA_CONSUMER, addresses);
  rd_kafka_poll_set_consumer(consumer);
  rd_kafka_topic_partition_list_t* const all = rd_kafka_topic_partition_list_new(partitions);
  for (int partition = 0; partition < partitions; ++partition)
    rd_kafka_topic_partition_list_add(all, topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
  rd_kafka_assign(consumer, all);
  rd_kafka_topic_partition_list_destroy(all);
  std::atomic<bool> stopping{false};
  std::thread reader([&] { consume(consumer, argv[1], stopping); });

  std::cout << "ready " << addresses << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb;
    int first = 0, second = 0;
    words >> verb >> first >> second;
    for (int broker = 1; broker <= brokers; ++broker) {
      if (verb == "down") rd_kafka_mock_broker_set_down(cluster, broker);
      if (verb == "up") rd_kafka_mock_broker_set_up(cluster, broker);
      if (verb == "slow") rd_kafka_mock_broker_set_rtt(cluster, broker, first);
    }
    if (verb == "fail") {
      const std::vector<rd_kafka_resp_err_t> errors(static_cast<size_t>(second),
                                                    static_cast<rd_kafka_resp_err_t>(first));
      rd_kafka_mock_push_request_errors_array(cluster, kProduceRequest, errors.size(),
                                              errors.data());
    }
    std::cout << "ok" << std::endl;
  }
  stopping.store(true);
  reader.join();
  rd_kafka_destroy(consumer);
  rd_kafka_mock_cluster_destroy(cluster);
  rd_kafka_destroy(host);
  return 0;
}
