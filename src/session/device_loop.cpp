// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/device_loop.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <vector>

#include "sys/credentials.h"

namespace plyfs::session {

DeviceLoop::DeviceLoop(RequestServer server, std::size_t threads, Statistics& statistics,
                       std::function<void()> ended)
    : server_(server), ended_(std::move(ended)), serving_(threads), workers_(threads) {
    for (Worker& worker : workers_) {
        worker.thread =
            std::thread([this, &worker, &own = statistics.add_thread()] { run(worker, own); });
    }
}

DeviceLoop::~DeviceLoop() {
    {
        const Lock lock(mutex_);
        leaving_ = true;
    }
    changed_.notify_all();
    for (Worker& worker : workers_) worker.thread.join();
}

void DeviceLoop::begin_reading(int device) {
    struct sigaction nothing{};
    nothing.sa_handler = [](int) {};
    // A read(2) begins anew, and finds the device non-blocking by then. So does what the thread of
    // a request that has come meanwhile waits for.
    nothing.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR1, &nothing, nullptr);
    ::fcntl(device, F_SETFL, ::fcntl(device, F_GETFL) & ~O_NONBLOCK);
}

bool DeviceLoop::all_parked() {
    const Lock lock(mutex_);
    return parked_ == workers_.size();
}

bool DeviceLoop::stop(std::chrono::milliseconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    {
        const Lock lock(mutex_);
        stopping_ = true;
    }
    const int device = fuse_session_fd(server_.session);
    ::fcntl(device, F_SETFL, ::fcntl(device, F_GETFL) | O_NONBLOCK);
    std::vector<std::uint64_t> before(workers_.size());
    while (!all_parked() && fuse_session_exited(server_.session) == 0 &&
           std::chrono::steady_clock::now() < until) {
        for (std::size_t index = 0; index < workers_.size(); ++index) {
            Worker& worker = workers_[index];
            const std::uint64_t readings = worker.readings;
            // For some time now: it waits for a request.
            if (readings % 2 == 1 && readings == before[index]) {
                ::pthread_kill(worker.thread.native_handle(), SIGUSR1);
            }
            before[index] = readings;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (all_parked() && fuse_session_exited(server_.session) == 0) return true;
    resume();
    return false;
}

void DeviceLoop::resume() {
    begin_reading(fuse_session_fd(server_.session));
    {
        const Lock lock(mutex_);
        stopping_ = false;
    }
    changed_.notify_all();
}

bool DeviceLoop::park() {
    const Lock lock(mutex_);
    ++parked_;
    while (stopping_ && !leaving_) changed_.wait(mutex_);
    --parked_;
    return !leaving_;
}

void DeviceLoop::run(Worker& worker, ThreadStatistics& statistics) {
    if (const auto prepared = sys::prepare_serving_thread(); !prepared) {
        spdlog::error("a serving thread can't get its own credentials: {}",
                      prepared.error().message());
    }
    fuse_session* const session = server_.session;
    fuse_buf buffer{};
    bool serves = true;
    while (serves && fuse_session_exited(session) == 0) {
        ++worker.readings;
        const int received = fuse_session_receive_buf(session, &buffer);
        ++worker.readings;
        if (received > 0) server_.serve(buffer, statistics);
        if (received <= 0 && received != -EINTR && received != -EAGAIN) break;
        if (stopping_) serves = park();
    }
    std::free(buffer.mem);
    if (!serves) return;
    fuse_session_exit(session);
    if (--serving_ == 0) ended_();
}

}  // namespace plyfs::session
