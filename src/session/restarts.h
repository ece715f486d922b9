// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests for a restart of the daemon, and what became of them. Thread-safe.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>
#include <string>

#include "sys/mutex.h"
#include "sys/unique_fd.h"

namespace plyfs::session {

// ioctl(2) on the root of a mount: asks its daemon to let a successor go on with it. Answered at
// once; the statistics tell how it went. EPERM: the caller is neither root nor who mounted it.
inline constexpr unsigned long kRestartCommand = _IO(0xF5, 1);

class Restarts {
public:
    Restarts();

    void ask();
    // Can be read once it was asked for; answered() empties it.
    int event() const noexcept { return event_.get(); }
    void answered();

    struct Status {
        std::uint64_t done = 0;    // since the mount
        std::uint64_t failed = 0;  // of this daemon
        std::string reason;        // of the last that failed
    };
    Status status() const EXCLUDES(mutex_);
    void set_done(std::uint64_t done) EXCLUDES(mutex_);
    void set_failed(std::string reason) EXCLUDES(mutex_);

private:
    const UniqueFd event_;
    mutable Mutex mutex_;
    Status status_ GUARDED_BY(mutex_);
};

}  // namespace plyfs::session
