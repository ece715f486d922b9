// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/device_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "sys/credentials.h"

namespace plyfs::session {

DeviceLoop::DeviceLoop(RequestServer server, std::size_t threads, Statistics& statistics,
                       std::function<void()> ended)
    : server_(server), ended_(std::move(ended)), serving_(threads), workers_(threads) {
    for (Worker& worker : workers_) {
        worker.statistics = &statistics.add_thread();
        start(worker);
    }
}

DeviceLoop::~DeviceLoop() {
    for (Worker& worker : workers_) {
        if (worker.thread.joinable()) worker.thread.join();
    }
}

void DeviceLoop::allow_stopping() {
    struct sigaction nothing{};
    nothing.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &nothing, nullptr);  // without SA_RESTART: read(2) ends
}

void DeviceLoop::start(Worker& worker) {
    worker.done = false;
    worker.thread = std::thread([this, &worker] { run(worker); });
}

bool DeviceLoop::stop(std::chrono::milliseconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    const auto all_done = [&] {
        return std::ranges::all_of(workers_, [](const Worker& worker) { return worker.done.load(); });
    };
    stopping_ = true;
    while (!all_done() && std::chrono::steady_clock::now() < until) {
        for (Worker& worker : workers_) {
            // Once more where it was about to read.
            if (worker.reading && !worker.done) ::pthread_kill(worker.thread.native_handle(), SIGUSR1);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (all_done() && fuse_session_exited(server_.session) == 0) {
        for (Worker& worker : workers_) worker.thread.join();
        return true;
    }
    resume();
    return false;
}

void DeviceLoop::resume() {
    stopping_ = false;
    for (Worker& worker : workers_) {
        if (!worker.done || worker.ended) continue;
        if (worker.thread.joinable()) worker.thread.join();
        start(worker);
    }
}

void DeviceLoop::run(Worker& worker) {
    if (const auto prepared = sys::prepare_serving_thread(); !prepared) {
        spdlog::error("a serving thread can't get its own credentials: {}",
                      prepared.error().message());
    }
    fuse_session* const session = server_.session;
    fuse_buf buffer{};
    while (!worker.ended && !stopping_ && fuse_session_exited(session) == 0) {
        worker.reading = true;
        const int received = fuse_session_receive_buf(session, &buffer);
        worker.reading = false;
        if (received == -EINTR || received == -EAGAIN) continue;
        if (received > 0) {
            server_.serve(buffer, *worker.statistics);
        } else {
            worker.ended = true;
        }
    }
    std::free(buffer.mem);
    if (worker.ended || fuse_session_exited(session) != 0) {
        worker.ended = true;
        fuse_session_exit(session);
        if (--serving_ == 0) ended_();
    }
    worker.done = true;
}

}  // namespace plyfs::session
