// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading requests from the FUSE device and having libfuse take them apart. Own threads, so that
// they have the credentials they need and what libfuse does not hand on can be read.
#pragma once

#include <fuse_lowlevel.h>

#include <functional>
#include <thread>
#include <vector>

#include "session/statistics.h"
#include "sys/result.h"

namespace plyfs::session {

// Answers FUSE_INIT, the first request of a mount, on the calling thread: libfuse's answer plus
// the flags that it has no names for (features.h). Blocks until the kernel has sent it.
// Returns which of them the kernel offered. EPROTO: something else came first.
Result<std::uint64_t> answer_init(fuse_session* session);

// Serves with statistics.threads() threads until the connection ends; `ended` is then called once,
// from the last of them. Each counts there what it serves. `log_requests`: each request is written
// to stderr as `request NAME node=N unique=U uid=I pid=P`.
class DeviceLoop {
public:
    DeviceLoop(fuse_session* session, Statistics& statistics, bool log_requests,
               std::function<void()> ended);
    // Waits for the threads: the connection must have ended or been aborted.
    ~DeviceLoop();
    DeviceLoop(const DeviceLoop&) = delete;
    DeviceLoop& operator=(const DeviceLoop&) = delete;

private:
    void run(ThreadStatistics& statistics);

    fuse_session* const session_;
    const bool log_requests_;
    const std::function<void()> ended_;
    std::atomic<std::size_t> running_;
    std::vector<std::thread> threads_;
};

}  // namespace plyfs::session
