// SPDX-License-Identifier: GPL-2.0-or-later
//
// The open files of each node and the backing ids that they share: one id per node, registered by
// the open that needs it first, closed with the last, or a moment later where the file is opened
// again and again. Thread-safe; its mutexes are leaf locks and are held over the registering
// ioctl, so that concurrent opens of one file register once.
//
// Where the kernel can, a backing is left with it, attached to the inode: later opens that it
// covers are made without asking (docs/kernel-open.md), and nothing is told of them. Whether any
// such file is open is found out by taking the backing back.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>

#include <boost/container/static_vector.hpp>

#include "passthrough/io_mode.h"
#include "passthrough/refusals.h"
#include "sys/mutex.h"
#include "sys/result.h"

namespace plyfs::passthrough {

// As the kernel numbers it: positive.
using BackingId = std::int32_t;

// What a backing is registered for.
enum class BackingUse : std::uint8_t {
    WhileOpen,
    Lasting,   // for longer than the file is open: it must not count as open for writing by it
    Attached,  // the kernel may open the file for reading by it. `descriptor` is not for writing
};

// Registers files with the kernel and takes them back. Called from any thread.
class Registrar {
public:
    virtual ~Registrar() = default;
    // The file that `descriptor` is open on becomes a backing.
    // EPERM: no CAP_SYS_ADMIN in the initial user namespace. ELOOP: the file's own file system is
    // stacked too deep. EOPNOTSUPP: the file can't be read and written by iterators. EMFILE.
    virtual Result<BackingId> open_backing(int descriptor, BackingUse use) = 0;
    // How many files are open that the kernel opened by itself: if not 0, `id` stays for asking
    // again, but is attached no more. 0, too, if the kernel had closed it before.
    virtual std::uint32_t close_backing(BackingId id) = 0;
    // What is open by `id` reads from the file that `descriptor` is open on, from now on; what is
    // mapped already does not. EBUSY: it was open for writing, too. EOPNOTSUPP: not in this kernel.
    // ENOENT: the kernel has closed it, as the inode that it was attached to is no more.
    virtual Result<void> rebind_backing(BackingId id, int descriptor) = 0;
};

// What tells one content of a file from another.
struct Version {
    explicit Version(const Attributes& attributes = {}) noexcept
        : size(attributes.size), modified(nanoseconds(attributes.modification_time)),
          changed(nanoseconds(attributes.change_time)) {}
    std::uint64_t size;     // bytes
    std::int64_t modified;  // nanoseconds since the epoch
    std::int64_t changed;
    bool operator==(const Version&) const = default;

private:
    static std::int64_t nanoseconds(const Timestamp& time) noexcept {
        return time.seconds * 1'000'000'000 + time.nanoseconds;
    }
};

// One open, as asked of OpenFiles::attach().
struct Opening {
    std::uint64_t node = 0;
    RealId real;           // the inode that is opened,
    int descriptor = -1;   // by this descriptor: borrowed
    bool writes = false;   // for writing,
    bool may_map = false;  // also through a mapping: for reading and writing
    IoMode wanted = IoMode::Cached;
    bool passable =
        true;  // passed through rather than past the page cache, where it is one of both
    Refusal why = Refusal::Off;  // where that is not Passthrough
    // Of the file when it was opened; none: it may change without another one.
    std::optional<Version> version{};
    // The same file is another node of the kernel too: its pages must not be cached here.
    bool shared_file = false;
    // It is on a read-only branch, its readers are to follow its copy, and the kernel can rebind
    // them to that.
    bool follows = false;
    // It is on a writable branch: maybe the copy of what is open.
    bool copied = false;
    // Opened for reading only, and the kernel may go on opening it by itself.
    bool may_attach = false;
    // The kernel has it open already, in passthrough, and wants a handle for it.
    bool handle_only = false;
};

// How one open goes. Given back by OpenFiles::detach.
struct Attachment {
    IoMode mode = IoMode::Cached;
    BackingId backing_id = 0;
    // Where that is Passthrough and 0: by the backing that the inode has (FUSE_PASSTHROUGH_REUSE).
    // What the page cache has of the file from before is what the file is now.
    bool keep_pages = false;
    // From now on the file may be written where the kernel does not see it (through a mapping of
    // the backing): attributes that it was told before are not to be believed any more.
    bool first_unseen_writer = false;
};

// Whether a node's attributes may change without the kernel's seeing it.
enum class UnseenWrites : std::uint8_t {
    None,
    Possible,  // mappings of descriptors closed since may be left
    Open,      // a descriptor that can be mapped for writing is open
};

struct OpenFilesCounts {
    std::uint64_t backings = 0;       // registered now, idle ones too, as far as is known
    std::uint64_t idle_backings = 0;  // of these, for files that are not open now
    std::uint64_t attached = 0;       // of these, left with the kernel for opening by itself
    std::uint64_t queued = 0;         // what is remembered of these, of which some are no more
    std::uint64_t taken_back = 0;     // attached ones, since the start, with nothing open
    std::uint64_t taken_open = 0;     // or with files open that the kernel had opened
    std::uint64_t registrations = 0;  // since the start, without those refused
    std::uint64_t rebound = 0;        // backings that were moved to the copy of their file
    std::uint64_t passthrough_opens = 0;
    std::uint64_t cached_opens = 0;
    std::uint64_t direct_opens = 0;
    std::uint64_t kept_pages = 0;  // cached opens of a file that had not changed since the last
    std::uint64_t refused = 0;     // registrations that the kernel refused
    RefusalCounts refused_by{};    // opens that were not passed through
};

// The open files of one node, as a successor process takes them over.
struct SavedOpened {
    std::uint64_t node = 0;
    IoMode mode = IoMode::Direct;
    BackingId backing_id = 0;
    RealId real;
    bool follows = false;
    std::uint32_t opens = 0;
    std::uint32_t mappers = 0;
    bool passed = false;
    bool mapped = false;
    bool attached = false;
    bool inherited = false;
};

class OpenFiles {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr Clock::time_point kAll = Clock::time_point::max();  // for close_idle()

    // `registrar` is borrowed. `refused(errno)` is told of each registration that was refused, with
    // no lock held.
    OpenFiles(Registrar& registrar, std::function<void(Errno)> refused);
    // Closes what is registered still.
    ~OpenFiles();
    OpenFiles(const OpenFiles&) = delete;
    OpenFiles& operator=(const OpenFiles&) = delete;

    // One more open of a node. A refused registration falls back to I/O through the daemon.
    // ESTALE: the node is open on another inode. ETXTBSY: Direct is wanted, and it is passed
    // through. Readers of a file are moved to its copy when that is opened first, before anybody
    // can write through that open; ENOMEM, ENFILE and others: they could not be.
    Result<Attachment> attach(const Opening& opening);
    // Moves those readers where nothing remains open by it: after a truncation by path.
    Result<void> follow(const Opening& opening);
    // Takes one attach() back: at release, and when the answer to an open was not wanted.
    // True: the first backing has become idle or was attached, and close_idle() is to be called
    // some time.
    bool detach(std::uint64_t node, bool may_map);
    // The kernel knows the node no more: its id never comes back.
    void forget(std::uint64_t node);
    // Closes the backings that have been idle since before `since`, and takes back those that have
    // been attached since before `attached_since`: the kernel pins their files, which may have been
    // removed on the branch. True: others are left.
    bool close_idle(Clock::time_point since, Clock::time_point attached_since);

    // It is open in passthrough now, or was until a moment ago: the kernel tells of a close(2)
    // later.
    bool passes(std::uint64_t node) const;
    // The same, or the kernel may have opened it by itself.
    bool may_pass(std::uint64_t node) const;

    UnseenWrites unseen_writes(std::uint64_t node) const;

    OpenFilesCounts counts() const;

    // Calls visit(saved) for each node of which something is to be known, while nothing is opened.
    void save(const std::function<void(const SavedOpened&)>& visit) const;
    // A successor process has taken them over: nothing is closed, and this of no use any more.
    void leave();
    // In the successor, before the first open.
    void restore(const SavedOpened& saved);
    // There too, where the kernel has FUSE_PASSTHROUGH_REUSE: closes the ids that need not be moved
    // or taken back. Other opens of these files go by the backing that the inode has, and later
    // ones by an id of their own, which FUSE_PASSTHROUGH_SAME_INODE allows.
    void close_inherited();

private:
    struct Opened {
        IoMode mode = IoMode::Direct;  // counts where something is open
        BackingId backing_id = 0;      // 0: none
        RealId real;                   // of the backing
        bool follows = false;          // as in Opening
        std::uint32_t opens = 0;
        std::uint32_t mappers = 0;  // that can map for writing
        bool passed = false;        // since the kernel knows the node
        bool mapped = false;        // a mapper was passed through
        // The kernel has `backing_id` for itself, or had it, and files may be open that it opened.
        bool attached = false;
        Clock::time_point attached_since{};
        std::uint8_t registrations = 0;
        // Open in passthrough since the process before this one, by an id that is not known here;
        // until one of these files is closed, which may be the last that the kernel has.
        bool inherited = false;
        std::optional<Version> pages;  // of which the page cache may have some; none: not known
    };
    static constexpr std::size_t kIdlePerShard = 4;
    static constexpr std::size_t kLeastPruned = 64;
    struct Idle {
        std::uint64_t node;
        Clock::time_point since;
    };
    struct Shard {
        mutable Mutex mutex;
        std::unordered_map<std::uint64_t, Opened> nodes GUARDED_BY(mutex);
        boost::container::static_vector<Idle, kIdlePerShard> idle
            GUARDED_BY(mutex);  // eldest first
        // Those to take back, eldest first, and some that are attached no more: these go when there
        // are as many as `prune_at`, which is twice what was left of it the last time.
        std::deque<Idle> attached GUARDED_BY(mutex);
        std::size_t prune_at GUARDED_BY(mutex) = kLeastPruned;
    };
    // attach(), but for telling of a refusal.
    Result<Attachment> attach_locked(const Opening& opening, std::optional<Errno>& refusal);
    // Another open of what is passed through.
    Result<void> share_backing(Shard& shard, const Opening& opening, Opened& opened,
                               std::optional<Errno>& refusal) REQUIRES(shard.mutex);
    // Gives `opened` a backing; where that is refused, the mode to use instead.
    IoMode register_backing(Shard& shard, const Opening& opening, Opened& opened,
                            std::optional<Errno>& refusal) REQUIRES(shard.mutex);
    // What `opened` is open as, as far as that is known without asking.
    static std::optional<OpenState> state_of(const Opened& opened);
    // The same before another open, after asking the kernel what is left of what was attached. None
    // if the inode is no more that this was attached to: whatever was open was of that.
    std::optional<OpenState> ask_state(const Opening& opening, Opened& opened);
    // Moves its readers. False: there are none, and `opened` has no backing any more.
    Result<bool> move(const Opening& opening, Opened& opened);
    // Takes an attached backing back. True: files are open by it, and the id stays.
    bool take_back(Opened& opened);
    // The kernel has closed it.
    void forget_backing(Opened& opened);
    // The backing of `node` waits for the next open. True: as the first one.
    bool make_idle(Shard& shard, std::uint64_t node) REQUIRES(shard.mutex);
    void take_from_idle(Shard& shard, std::uint64_t node) REQUIRES(shard.mutex);
    void take_back_attached(Shard& shard, Clock::time_point since) REQUIRES(shard.mutex);
    // What `queued` stands for, if it is attached still; null otherwise.
    static Opened* find_attached(Shard& shard, const Idle& queued) REQUIRES(shard.mutex);
    void prune_attached(Shard& shard) REQUIRES(shard.mutex);
    void close_backing(Opened& opened);
    Shard& shard(std::uint64_t node) { return shards_[node % shards_.size()]; }
    const Shard& shard(std::uint64_t node) const { return shards_[node % shards_.size()]; }

    Registrar& registrar_;
    const std::function<void(Errno)> refused_;
    std::array<Shard, 64> shards_;
    std::atomic<std::uint64_t> backings_{0};
    std::atomic<std::uint64_t> idle_{0};
    std::atomic<std::uint64_t> attached_{0};
    std::atomic<std::uint64_t> taken_back_{0};
    std::atomic<std::uint64_t> taken_open_{0};
    std::atomic<std::uint64_t> registrations_{0};
    std::atomic<std::uint64_t> rebound_{0};
    std::atomic<std::uint64_t> passthrough_opens_{0};
    std::atomic<std::uint64_t> cached_opens_{0};
    std::atomic<std::uint64_t> direct_opens_{0};
    std::atomic<std::uint64_t> kept_pages_{0};
    std::atomic<std::uint64_t> refusals_{0};
    RefusalCounters refusals_by_;
};

}  // namespace plyfs::passthrough
