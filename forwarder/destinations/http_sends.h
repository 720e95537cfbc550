// The requests that carry a destination's sends, reused from batch to batch.
// Path: warm (per batch).  Thread: the forwarder's.
//
// Invariant: a request is in the pool or carries exactly one send that is in flight.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "forwarder/destination.h"
#include "forwarder/destinations/http_client.h"

namespace weir::forwarder {

class HttpSends {
 public:
  // A blank request that carries the send.
  HttpRequest& take(Send& send) {
    std::unique_ptr<HttpRequest> request;
    if (idle_.empty()) {
      request = std::make_unique<HttpRequest>();
    } else {
      request = std::move(idle_.back());
      idle_.pop_back();
      *request = HttpRequest();
    }
    request->context = &send;
    return *busy_.emplace_back(std::move(request));
  }

  // From a chain of finished requests to the chain of their sends; judge(request, send) fills in
  // the outcome.
  template <class Judge>
  Send* finished(HttpRequest* request, Judge&& judge) {
    Send* first = nullptr;
    Send** last = &first;
    while (request != nullptr) {
      HttpRequest* const next = request->next;
      Send& send = *static_cast<Send*>(request->context);
      judge(*request, send);
      send.duration_ns = request->duration_ns;
      send.next = nullptr;
      *last = &send;
      last = &send.next;
      give_back(request);
      request = next;
    }
    return first;
  }

  void forget() {
    for (auto& request : busy_) idle_.push_back(std::move(request));
    busy_.clear();
  }

 private:
  void give_back(HttpRequest* request) {
    const auto found = std::find_if(busy_.begin(), busy_.end(),
                                    [&](const auto& mine) { return mine.get() == request; });
    idle_.push_back(std::move(*found));
    busy_.erase(found);
  }

  std::vector<std::unique_ptr<HttpRequest>> busy_;
  std::vector<std::unique_ptr<HttpRequest>> idle_;
};

}  // namespace weir::forwarder
