// SPDX-License-Identifier: GPL-2.0-or-later
//
// Serves one mount, which it has made or taken over from a daemon that restarts, until it is
// unmounted or handed to a successor. Used by one thread, which has no lock and touches no file of
// the mount but where this header says so.
#pragma once

#include <fuse_lowlevel.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "config/options.h"
#include "session/backing_registrar.h"
#include "session/context.h"
#include "session/device_loop.h"
#include "session/init.h"
#include "session/predecessor.h"
#include "session/restarts.h"
#include "session/session.h"
#include "union/union.h"

namespace plyfs::session {

// What the union tells of, and so what outlives it.
struct Passing {
    explicit Passing(const config::Options& options)
        : housekeeper(open_files, options.passthrough.attach) {}
    BackingRegistrar registrar;
    passthrough::OpenFiles open_files{registrar, [](Errno error) { report_refusal(error); }};
    Housekeeper housekeeper;
};

// Threads for each processor's queue, at most.
std::size_t ring_thread_count(const config::Options& options);

class Server {
public:
    // All are borrowed. `text`: the configuration, for a successor.
    Server(const config::Options& options, const std::string& text, Union& united,
           Passing& passing);
    // After run(), unless there was an error before it.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Either mounts, or takes over what the predecessor has: its state goes to the union, too.
    // Where one of them fails nothing is mounted, or the mount is as it was.
    std::expected<void, SessionError> mount();
    std::expected<void, SessionError> take_over(Predecessor::State state);

    // `ready` is called once requests are served.
    Ended run(const std::function<void()>& ready);

private:
    struct SessionDeleter {
        void operator()(fuse_session* session) const noexcept { fuse_session_destroy(session); }
    };

    std::expected<void, SessionError> open_session(const std::string& mountpoint);
    Result<void> begin();
    Result<void> take_records(Predecessor::State& state);
    Result<void> take(const SavedSession& saved);
    void say_ready(const std::function<void()>& ready);
    // Returns when the mount is no more, or where it was handed over.
    Ended wait(DeviceLoop& loop);
    // It is being unmounted, or a signal that ends serving is there to be read.
    bool is_told_to_end() const;
    void unmount_for(unsigned signal);

    const config::Options& options_;
    const std::string& text_;
    Union& united_;
    Passing& passing_;
    BranchLocks locks_;
    LockWaiters waiters_;
    Statistics statistics_;
    Restarts restarts_;
    RingLoop rings_;
    const UniqueFd ended_;  // readable once the connection has ended
    const UniqueFd signals_;
    std::unique_ptr<fuse_session, SessionDeleter> session_;
    Context context_;
    InitAnswer init_;
    unsigned connection_ = 0;  // in /sys/fs/fuse/connections; 0: not known yet
    bool taken_over_ = false;
    std::optional<std::chrono::steady_clock::time_point> asked_to_end_;
};

}  // namespace plyfs::session
