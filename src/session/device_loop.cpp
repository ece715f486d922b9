// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/device_loop.h"

#include <spdlog/spdlog.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "sys/credentials.h"

namespace plyfs::session {

DeviceLoop::DeviceLoop(RequestServer server, std::size_t threads, Statistics& statistics,
                       std::function<void()> ended)
    : server_(server), ended_(std::move(ended)), running_(threads) {
    for (std::size_t count = 0; count < threads; ++count) {
        threads_.emplace_back([this, &own = statistics.add_thread()] { run(own); });
    }
}

DeviceLoop::~DeviceLoop() {
    for (std::thread& thread : threads_) thread.join();
}

void DeviceLoop::run(ThreadStatistics& statistics) {
    if (const auto prepared = sys::prepare_serving_thread(); !prepared) {
        spdlog::error("a serving thread can't get its own credentials: {}",
                      prepared.error().message());
    }
    fuse_session* const session = server_.session;
    fuse_buf buffer{};
    while (fuse_session_exited(session) == 0) {
        const int received = fuse_session_receive_buf(session, &buffer);
        if (received == -EINTR || received == -EAGAIN) continue;
        if (received <= 0) break;
        server_.serve(buffer, statistics);
    }
    std::free(buffer.mem);
    fuse_session_exit(session);
    if (--running_ == 0) ended_();
}

}  // namespace plyfs::session
