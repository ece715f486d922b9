// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading requests from the FUSE device. Own threads, not libfuse's, so that they have the
// credentials they need and what libfuse does not hand on can be read.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>

#include "session/request_server.h"
#include "session/statistics.h"
#include "sys/mutex.h"

namespace plyfs::session {

// Serves with `threads` threads until the connection ends; `ended` is then called once, from the
// last of them. Each counts in `statistics` what it serves. Used by one thread.
class DeviceLoop {
public:
    DeviceLoop(RequestServer server, std::size_t threads, Statistics& statistics,
               std::function<void()> ended);
    // Waits for the threads: the connection must have ended or been aborted, or stop() worked.
    ~DeviceLoop();
    DeviceLoop(const DeviceLoop&) = delete;
    DeviceLoop& operator=(const DeviceLoop&) = delete;

    // Lets the threads finish what they serve and reads no more requests: those wait in the kernel.
    // False: that took longer than `patience`, or the connection has ended; serving goes on then.
    // The device, and so whatever process has it open, is non-blocking until begin_reading().
    bool stop(std::chrono::milliseconds patience) EXCLUDES(mutex_);
    // After stop(): goes on.
    void resume() EXCLUDES(mutex_);

    // Before the first request, also of a device that somebody else has stopped to read. Threads
    // that read are woken by SIGUSR1, which does nothing else from then on.
    static void begin_reading(int device);

private:
    struct Worker {
        std::thread thread;
        // Changed before and after each reading: odd while it reads.
        std::atomic<std::uint64_t> readings{0};
    };
    void run(Worker& worker, ThreadStatistics& statistics);
    // Waits as long as the loop is stopped. False: for ever.
    bool park() EXCLUDES(mutex_);
    bool all_parked() EXCLUDES(mutex_);

    const RequestServer server_;
    const std::function<void()> ended_;
    std::atomic<bool> stopping_{false};  // changed with mutex_
    Mutex mutex_;
    std::condition_variable_any changed_;
    bool leaving_ GUARDED_BY(mutex_) = false;
    std::size_t parked_ GUARDED_BY(mutex_) = 0;
    std::atomic<std::size_t> serving_;  // threads for which the connection has not ended
    std::deque<Worker> workers_;
};

}  // namespace plyfs::session
