#include "storage/successor.h"

#include <unistd.h>

#include <utility>

#include "storage/base/log.h"
#include "storage/file_names.h"

namespace weir::storage {

Successor::Successor(const std::string& directory, unsigned shard, uint64_t segment_bytes)
    : directory_(directory),
      path_(directory + "/" + successor_name(shard)),
      segment_bytes_(segment_bytes) {}

Successor::~Successor() {
  if (ready_ == nullptr) return;
  ready_.reset();
  unlink(path_.c_str());
  unlink((path_ + "-lock").c_str());
}

Status Successor::make() {
  if (ready_ != nullptr) return {};
  WEIR_ASSIGN_OR_RETURN(ready_, SegmentWriter::create(path_, segment_bytes_));
  return sync_directory(directory_);
}

Status Successor::prepare() {
  const std::lock_guard lock(mutex_);
  return make();
}

bool Successor::fill() {
  const std::lock_guard lock(mutex_);
  if (ready_ == nullptr || fill_.load(std::memory_order_relaxed) != Fill::kOpen) return false;
  if (zeros_ == nullptr) {
    auto started = ZeroFill::start(path_, segment_bytes_);
    if (!started) return give_up(started.error());
    zeros_ = std::move(*started);
    return true;
  }
  const uint64_t due = due_.load(std::memory_order_relaxed);
  if (zeros_->at() >= due) return false;
  const auto done = zeros_->step(due - zeros_->at());
  if (!done) {
    ready_.reset();  // a sync of this file has failed: no commit may rely on the next one
    return give_up(done.error());
  }
  if (!*done) return true;
  zeros_.reset();
  ready_->set_filled();
  fill_.store(Fill::kDone, std::memory_order_relaxed);
  return false;
}

bool Successor::give_up(const Error& why) {
  log::info("successor_not_filled", {{"file", path_}, {"why", why.message}});
  zeros_.reset();
  fill_.store(Fill::kImpossible, std::memory_order_relaxed);
  return false;
}

Result<std::unique_ptr<SegmentWriter>> Successor::take() {
  const std::lock_guard lock(mutex_);
  WEIR_RETURN_IF_ERROR(make());
  wanted_.store(false, std::memory_order_relaxed);
  fill_.store(Fill::kOpen, std::memory_order_relaxed);
  zeros_.reset();
  return std::move(ready_);
}

}  // namespace weir::storage
