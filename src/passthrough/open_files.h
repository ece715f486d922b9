// SPDX-License-Identifier: GPL-2.0-or-later
//
// The open files of each node and the backing ids that they share: one id per node, registered by
// the open that needs it first, closed with the last. Thread-safe; its mutexes are leaf locks and
// are held over the registering ioctl, so that concurrent opens of one file register once.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>

#include "passthrough/io_mode.h"
#include "sys/mutex.h"
#include "sys/result.h"

namespace plyfs::passthrough {

// As the kernel numbers it: positive.
using BackingId = std::int32_t;

// Registers files with the kernel and takes them back. Called from any thread.
class Registrar {
public:
    virtual ~Registrar() = default;
    // The file that `descriptor` is open on becomes a backing.
    // EPERM: no CAP_SYS_ADMIN in the initial user namespace. ELOOP: the file's own file system is
    // stacked too deep. EOPNOTSUPP: the file can't be read and written by iterators. EMFILE.
    virtual Result<BackingId> open_backing(int descriptor) = 0;
    virtual void close_backing(BackingId id) = 0;
};

// How one open goes. Given back by OpenFiles::detach.
struct Attachment {
    IoMode mode = IoMode::Cached;
    BackingId backing_id = 0;
    // From now on the file may be written where the kernel does not see it (through a mapping of
    // the backing): attributes that it was told before are not to be believed any more.
    bool first_unseen_writer = false;
};

struct OpenFilesCounts {
    std::uint64_t backings = 0;           // registered now
    std::uint64_t passthrough_opens = 0;  // since the mount
    std::uint64_t cached_opens = 0;
    std::uint64_t refused = 0;  // registrations that the kernel refused
};

class OpenFiles {
public:
    // `registrar` is borrowed. `refused(errno)` is told of each registration that was refused, with
    // no lock held.
    OpenFiles(Registrar& registrar, std::function<void(Errno)> refused);
    // Closes what is registered still.
    ~OpenFiles();
    OpenFiles(const OpenFiles&) = delete;
    OpenFiles& operator=(const OpenFiles&) = delete;

    // One more open of `node` on the inode `real`, by `descriptor`; for writing where `writable`.
    // `wanted`: pass through if it can be had. A refused registration falls back to cached I/O.
    // ESTALE: the node is open on another inode.
    Result<Attachment> attach(std::uint64_t node, const RealId& real, int descriptor, bool writable,
                              bool wanted);
    // Takes one attach() back: at release, and when the answer to an open was not wanted.
    void detach(std::uint64_t node, bool writable);

    // The node is open for writing in passthrough: the kernel does not see what is written
    // through a mapping, so its attributes are valid at no time.
    bool written_unseen(std::uint64_t node) const;

    OpenFilesCounts counts() const;

private:
    struct Opened {
        OpenState state;
        BackingId backing_id = 0;
        std::uint32_t opens = 0;
        std::uint32_t writers = 0;
    };
    struct Shard {
        mutable Mutex mutex;
        std::unordered_map<std::uint64_t, Opened> nodes GUARDED_BY(mutex);
    };
    // attach(), but for telling of a refusal.
    Result<Attachment> attach_locked(std::uint64_t node, const RealId& real, int descriptor,
                                     bool writable, bool wanted, std::optional<Errno>& refusal);
    Shard& shard(std::uint64_t node) { return shards_[node % shards_.size()]; }
    const Shard& shard(std::uint64_t node) const { return shards_[node % shards_.size()]; }

    Registrar& registrar_;
    const std::function<void(Errno)> refused_;
    std::array<Shard, 64> shards_;
    std::atomic<std::uint64_t> backings_{0};
    std::atomic<std::uint64_t> passthrough_opens_{0};
    std::atomic<std::uint64_t> cached_opens_{0};
    std::atomic<std::uint64_t> refusals_{0};
};

}  // namespace plyfs::passthrough
