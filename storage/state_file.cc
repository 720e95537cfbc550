#include "storage/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/base/log.h"
#include "storage/dead_letters.h"
#include "storage/disk.h"

namespace weir::storage {
namespace {

constexpr char kNewSuffix[] = ".new";
constexpr uint64_t kSmallestMap = 64 << 10;

Status check_state_file(const std::string& path, bool in_use) {
  StateImage image;
  return check_lmdb_file(
      path,
      [&](std::string_view key, std::string_view value) { return read_entry(key, value, &image); },
      [&] { return check_image(&image); }, in_use);
}

// Removes what a crash left of an unfinished file.
void remove_unfinished(const std::string& path) {
  unlink(path.c_str());
  unlink((path + "-lock").c_str());
}

// Takes the file's whole size from the file system now; the state thread fills it with zeros (see
// OpenedState::unfilled_from). Where space cannot be reserved the zeros are written here.
Status reserve_to(const std::string& path, uint64_t used, uint64_t size) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail_errno(errno, "cannot open {}", path);
  Status reserved;
  const int error = posix_fallocate(fd, 0, static_cast<off_t>(size));
  if (error == ENOSPC || error == EDQUOT)
    reserved = fail_errno(error, "cannot reserve {} bytes (store.state_bytes) for {}", size, path);
  else if (error != 0)
    reserved = write_zeros(fd, used, size);
  ::close(fd);
  return reserved;
}

// The first byte after `used` that was reserved but never written.
uint64_t first_hole(int fd, uint64_t used, uint64_t size) {
  const off_t hole = lseek(fd, static_cast<off_t>(used), SEEK_HOLE);
  return hole < 0 ? size : std::min(static_cast<uint64_t>(hole), size);
}

// Makes directory/name with the entries of image and the delivery rows of source (may be null).
Status write_new_state(const std::string& directory, const StateImage& image,
                       const LmdbFile* source, uint64_t state_bytes) {
  const std::string path = directory + "/" + kStateName + kNewSuffix;
  remove_unfinished(path);
  auto written = [&]() -> Status {
    LmdbFile::Options options;
    options.map_bytes = std::max(state_bytes, kSmallestMap);
    options.exclusive = true;
    WEIR_ASSIGN_OR_RETURN(auto file, LmdbFile::open(path, options));
    WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::write(file));
    Status put;
    write_image(image, [&](const std::string& key, std::string payload) {
      if (put) put = txn.put(key, seal_value(key, std::move(payload)));
    });
    if (put && source != nullptr) {
      auto from = LmdbTxn::read(*source);
      if (!from) return tl::unexpected(from.error());
      WEIR_RETURN_IF_ERROR(from->scan("D", [&](std::string_view key, std::string_view value) {
        if (key[0] != 'D') return false;
        put = txn.put(key, value);
        return put.has_value();
      }));
    }
    WEIR_RETURN_IF_ERROR(std::move(put));
    WEIR_RETURN_IF_ERROR(txn.commit());
    const uint64_t used = file.used_bytes();
    file.close();
    return reserve_to(path, used, options.map_bytes);
  }();
  if (!written) {
    remove_unfinished(path);
    return written;
  }
  // Lock files belong to a name; an old one describes readers that are gone.
  unlink((directory + "/" + kStateName + "-lock").c_str());
  return rename_durably(directory, std::string(kStateName) + kNewSuffix, kStateName);
}

Result<StateImage> load(const LmdbFile& file, OpenedState* rows) {
  WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::read(file));
  StateImage image;
  std::string problem;
  WEIR_RETURN_IF_ERROR(txn.scan({}, [&](std::string_view key, std::string_view value) {
    problem = read_entry(key, value, &image);
    if (problem.empty() && rows != nullptr && key[0] == 'D') {
      uint32_t lane = 0;
      for (char c : key.substr(1, 4)) lane = lane << 8 | static_cast<unsigned char>(c);
      ++rows->delivery_rows[{lane, decode_delivery(key, value)->shard}];
    }
    return problem.empty();
  }));
  if (problem.empty()) problem = check_image(&image);
  if (!problem.empty()) return fail(ErrorCode::kCorrupt, "{} is damaged: {}", file.path(), problem);
  return image;
}

class Opener {
 public:
  Opener(const StoreOptions& options, const Clock& clock, MetricRegistry& metrics)
      : options_(options), clock_(clock), metrics_(metrics) {}

  Result<OpenedState> open(const State::RecoverIdentity& recover_identity) {
    remove_unfinished(path(kStateName) + kNewSuffix);
    remove_unfinished(path(kStateCopyName) + kNewSuffix);
    WEIR_ASSIGN_OR_RETURN(const bool sound, usable(kStateName, "state"));
    if (sound) {
      opened_.origin = StateOrigin::kLoaded;
    } else {
      WEIR_ASSIGN_OR_RETURN(const bool copied, restore_from_copy());
      if (!copied) WEIR_RETURN_IF_ERROR(start_over(recover_identity));
    }
    return open_for_use();
  }

 private:
  std::string path(std::string_view name) const {
    return fmt::format("{}/{}", options_.directory, name);
  }

  // True: the file is there and sound. A damaged one is set aside.
  Result<bool> usable(const char* name, const char* kind) {
    if (!file_exists(path(name))) return false;
    WEIR_RETURN_IF_ERROR(sync_and_drop_cache(path(name)));
    auto checked = check_state_file(path(name), /*in_use=*/false);
    if (checked) return true;
    if (checked.error().code != ErrorCode::kCorrupt) return tl::unexpected(checked.error());
    found_damaged_ = true;
    unlink((path(name) + "-lock").c_str());
    WEIR_ASSIGN_OR_RETURN(const std::string moved,
                          set_aside(options_.directory, name, clock_.wall_ms()));
    metrics_.counter(Metric::kDamagedSegments, {kind}).add();
    log::error("state_damaged",
               {{"file", name}, {"error", checked.error().message}, {"moved_to", moved}});
    return false;
  }

  Result<bool> restore_from_copy() {
    WEIR_ASSIGN_OR_RETURN(const bool sound, usable(kStateCopyName, "state_copy"));
    if (!sound) return false;
    LmdbFile::Options options;
    options.read_only = true;
    options.exclusive = true;
    WEIR_ASSIGN_OR_RETURN(auto copy, LmdbFile::open(path(kStateCopyName), options));
    WEIR_ASSIGN_OR_RETURN(StateImage image, load(copy, nullptr));
    image.clean = false;
    image.next_batch = ((image.next_batch >> kBatchGenerationShift) + 1) << kBatchGenerationShift;
    // Events that failed after the copy was made may exist nowhere else any more: keep them all.
    image.dead_letter_mark = DeadLetters::kKeepAll;
    WEIR_RETURN_IF_ERROR(write_new_state(options_.directory, image, &copy, options_.state_bytes));
    // The copy takes the new batch generation too: should this state be lost before its first
    // periodic copy, the numbers handed out since are not handed out again.
    WEIR_RETURN_IF_ERROR(refresh_copy());
    log::warn("state_restored_from_copy",
              {{"meaning", "positions are those of the copy: lanes send some events again"}});
    opened_.origin = StateOrigin::kCopy;
    return true;
  }

  Status start_over(const State::RecoverIdentity& recover_identity) {
    WEIR_ASSIGN_OR_RETURN(std::optional<StoreIdentity> identity, recover_identity());
    StateImage image;
    image.created_ms = clock_.wall_ms();
    image.dead_letter_mark = DeadLetters::kKeepAll;
    opened_.origin = identity ? StateOrigin::kSegments : StateOrigin::kCreated;
    if (identity || found_damaged_) {
      // Whatever was handed out before: minutes since 2024 are above any count of losses.
      const int64_t minutes = std::max<int64_t>(1, (clock_.wall_ms() - 1'704'067'200'000) / 60'000);
      image.next_batch = static_cast<uint64_t>(minutes) << kBatchGenerationShift;
      log::warn("state_rebuilt",
                {{"identity", identity ? "from the segments" : "new: no segment has one"},
                 {"meaning", "every lane starts at the earliest event on disk"}});
    }
    image.identity = identity ? *identity : StoreIdentity::generate(options_.shards);
    image.past.resize(image.identity->shards);
    WEIR_RETURN_IF_ERROR(write_new_state(options_.directory, image, nullptr, options_.state_bytes));
    return opened_.origin == StateOrigin::kSegments ? refresh_copy() : Status{};
  }

  Status refresh_copy() {
    LmdbFile::Options options;
    options.read_only = true;
    options.exclusive = true;
    WEIR_ASSIGN_OR_RETURN(auto file, LmdbFile::open(path(kStateName), options));
    auto copied = write_state_copy(file, options_.directory);
    // On a full disk the old copy stays; the start goes on without.
    if (!copied) log::warn("state_copy_failed", {{"error", copied.error().message}});
    return {};
  }

  Result<OpenedState> open_for_use() {
    const std::string state = path(kStateName);
    LmdbFile::Options options;
    options.map_bytes = std::max(options_.state_bytes, kSmallestMap);
    // state_bytes was raised, or the file came from elsewhere.
    if (file_bytes(state) < options.map_bytes) {
      auto grown = reserve_to(state, file_bytes(state), options.map_bytes);
      if (!grown) log::warn("state_not_grown", {{"error", grown.error().message}});
    }
    WEIR_ASSIGN_OR_RETURN(opened_.file, LmdbFile::open(state, options));
    opened_.unfilled_from =
        first_hole(opened_.file.fd(), opened_.file.used_bytes(), options.map_bytes);
    WEIR_ASSIGN_OR_RETURN(opened_.image, load(opened_.file, &opened_));
    const unsigned shards = opened_.image.identity->shards;
    if (shards != options_.shards)
      return fail(ErrorCode::kInvalidArgument,
                  "the data directory {} was made with {} store shards, the configuration asks for "
                  "{}; the number is fixed when the directory is made",
                  options_.directory, shards, options_.shards);
    return std::move(opened_);
  }

  const StoreOptions& options_;
  const Clock& clock_;
  MetricRegistry& metrics_;
  bool found_damaged_ = false;
  OpenedState opened_;
};

}  // namespace

Result<OpenedState> open_state_file(const StoreOptions& options, const Clock& clock,
                                    MetricRegistry& metrics,
                                    const State::RecoverIdentity& recover_identity) {
  return Opener(options, clock, metrics).open(recover_identity);
}

Status write_state_copy(const LmdbFile& file, const std::string& directory) {
  const std::string name = std::string(kStateCopyName) + kNewSuffix;
  const std::string path = directory + "/" + name;
  remove_unfinished(path);
  auto written = [&]() -> Status {
    WEIR_ASSIGN_OR_RETURN(auto from, LmdbTxn::read(file));
    LmdbFile::Options options;
    options.map_bytes = 2 * file.used_bytes() + kSmallestMap;
    options.exclusive = true;
    WEIR_ASSIGN_OR_RETURN(auto copy, LmdbFile::open(path, options));
    WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::write(copy));
    Status put;
    WEIR_RETURN_IF_ERROR(from.scan({}, [&](std::string_view key, std::string_view value) {
      if (!open_value(key, value))
        put = fail(ErrorCode::kCorrupt, "an entry '{}' of {} is damaged; the old copy stays",
                   key[0], file.path());
      else
        put = txn.append(key, value);
      return put.has_value();
    }));
    WEIR_RETURN_IF_ERROR(std::move(put));
    WEIR_RETURN_IF_ERROR(txn.commit());  // synced
    return copy.sync();
  }();
  if (written) written = rename_durably(directory, name, kStateCopyName);
  if (!written) remove_unfinished(path);
  return written;
}

Result<StateImage> read_state_file(const std::string& path, bool in_use) {
  WEIR_RETURN_IF_ERROR(check_state_file(path, in_use));
  LmdbFile::Options options;
  options.read_only = true;
  options.exclusive = !in_use;
  WEIR_ASSIGN_OR_RETURN(auto file, LmdbFile::open(path, options));
  return load(file, nullptr);
}

}  // namespace weir::storage
