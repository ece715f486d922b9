// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading requests from the FUSE device. Own threads, not libfuse's, so that they have the
// credentials they need and what libfuse does not hand on can be read.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "session/request_server.h"
#include "session/statistics.h"

namespace plyfs::session {

// Serves with `threads` threads until the connection ends; `ended` is then called once, from the
// last of them. Each counts in `statistics` what it serves.
class DeviceLoop {
public:
    DeviceLoop(RequestServer server, std::size_t threads, Statistics& statistics,
               std::function<void()> ended);
    // Waits for the threads: the connection must have ended or been aborted.
    ~DeviceLoop();
    DeviceLoop(const DeviceLoop&) = delete;
    DeviceLoop& operator=(const DeviceLoop&) = delete;

private:
    void run(ThreadStatistics& statistics);

    const RequestServer server_;
    const std::function<void()> ended_;
    std::atomic<std::size_t> running_;
    std::vector<std::thread> threads_;
};

}  // namespace plyfs::session
