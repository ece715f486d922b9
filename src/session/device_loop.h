// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading requests from the FUSE device. Own threads, not libfuse's, so that they have the
// credentials they need and what libfuse does not hand on can be read.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <thread>

#include "session/request_server.h"
#include "session/statistics.h"

namespace plyfs::session {

// Serves with `threads` threads until the connection ends; `ended` is then called once, from the
// last of them. Each counts in `statistics` what it serves. Used by one thread.
class DeviceLoop {
public:
    DeviceLoop(RequestServer server, std::size_t threads, Statistics& statistics,
               std::function<void()> ended);
    // Waits for the threads: the connection must have ended or been aborted.
    ~DeviceLoop();
    DeviceLoop(const DeviceLoop&) = delete;
    DeviceLoop& operator=(const DeviceLoop&) = delete;

    // Lets the threads finish what they serve and reads no more requests: those wait in the kernel.
    // False: that took longer than `patience`, or the connection has ended; serving goes on then.
    // Threads that read are sent SIGUSR1, which allow_stopping() makes harmless.
    bool stop(std::chrono::milliseconds patience);
    // After stop(): goes on.
    void resume();
    static void allow_stopping();

private:
    struct Worker {
        std::thread thread;
        ThreadStatistics* statistics = nullptr;
        std::atomic<bool> reading{false};
        std::atomic<bool> done{false};   // the thread has ended,
        std::atomic<bool> ended{false};  // since the connection has
    };
    void start(Worker& worker);
    void run(Worker& worker);

    const RequestServer server_;
    const std::function<void()> ended_;
    std::atomic<bool> stopping_{false};
    std::atomic<std::size_t> serving_;  // threads for which the connection has not ended
    std::deque<Worker> workers_;
};

}  // namespace plyfs::session
