#include "forwarder/reaper.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace weir::forwarder {

Reaper::~Reaper() {
  for (Ending& ending : endings_) ending.thread.join();
}

void Reaper::take(std::string name, std::unique_ptr<Destination> destination) {
  forget_done();
  Ending& ending = endings_.emplace_back();
  ending.name = std::move(name);
  ending.thread = std::thread([this, &ending, destination = std::move(destination)]() mutable {
    pthread_setname_np(pthread_self(), "weir-reaper");
    destination.reset();
    ending.done.store(true, std::memory_order_release);
    ended_.notify();
  });
}

bool Reaper::holds(std::string_view name) {
  forget_done();
  return std::any_of(endings_.begin(), endings_.end(),
                     [&](const Ending& ending) { return ending.name == name; });
}

void Reaper::forget_done() {
  for (auto ending = endings_.begin(); ending != endings_.end();) {
    if (!ending->done.load(std::memory_order_acquire)) {
      ++ending;
      continue;
    }
    ending->thread.join();  // it has nothing left to do
    ending = endings_.erase(ending);
  }
}

}  // namespace weir::forwarder
