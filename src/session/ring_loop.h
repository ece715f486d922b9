// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests through io_uring (FUSE-over-io-uring, fs/fuse/dev_uring.c of the kernel, since 6.14): an
// answer and the wait for the next request are one system call, and a request is served on the
// processor of who asked, so that nobody is woken elsewhere.
//
// The kernel has a queue for each possible processor, and hands a request to an entry that waits in
// the queue of the caller's. Here an entry is a thread with a ring of its own: what takes long
// keeps no request waiting behind it, since a queue of which few threads are waiting gets another
// one. FORGET and INTERRUPT still come through the device (DeviceLoop).
//
// Each request must be answered by the thread that serves it: an entry is of no other use until
// then, and what is queued behind it comes when it has answered.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "session/request_server.h"
#include "session/statistics.h"
#include "sys/mutex.h"
#include "sys/result.h"

namespace plyfs::session {

// FUSE_OVER_IO_URING of FUSE_INIT's flags. Once it is agreed to, the kernel holds all requests back
// until each processor's queue has an entry, or one was refused.
inline constexpr std::uint64_t kOverIoUring = std::uint64_t{1} << 41;

class RingLoop {
public:
    // `threads`: at most so many serve one processor's queue.
    RingLoop(std::size_t threads, Statistics& statistics);
    ~RingLoop();  // after stop(), or never started
    RingLoop(const RingLoop&) = delete;
    RingLoop& operator=(const RingLoop&) = delete;

    // Before FUSE_INIT is answered: whether this process may have rings of the kind that is needed,
    // and libfuse answers by way of plyfs then, so that it is known where to. What is wrong,
    // otherwise.
    static std::expected<void, std::string> prepare(fuse_session* session);

    // After FUSE_INIT: the first thread of each queue. `payload`: InitAnswer::largest_payload.
    // Where this fails the connection is of no use any more: the kernel waits for the queues.
    Result<void> start(RequestServer server, std::size_t payload);
    // When the connection has ended: waits for the threads.
    void stop();

    // Takes the answer to the request that the calling thread serves, if that came through a ring:
    // libfuse's header and what follows it. False: it did not. Sent when the thread is done with
    // it.
    static bool answer(std::span<const iovec> message);

    class Entry;

private:
    struct Queue {
        unsigned processor = 0;
        std::atomic<std::size_t> waiting = 0;  // threads that wait for a request, or soon will
        std::atomic<std::size_t> threads = 0;
    };
    class Start;

    void add_thread(Queue& queue, const std::shared_ptr<Start>& start);
    void run(Queue& queue, Start* start, ThreadStatistics& statistics);
    // Few threads are waiting.
    void grow(Queue& queue);
    bool serve(Queue& queue, Entry& entry, ThreadStatistics& statistics);

    const std::size_t most_threads_;
    Statistics& statistics_;
    RequestServer server_{};
    std::size_t payload_ = 0;
    std::deque<Queue> queues_;
    std::atomic<bool> stopping_ = false;

    Mutex mutex_;
    std::vector<std::thread> threads_ GUARDED_BY(mutex_);
};

}  // namespace plyfs::session
