// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/ring_loop.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <latch>
#include <memory>
#include <optional>
#include <system_error>

#include "sys/credentials.h"

namespace plyfs::session {
namespace {

// The kernel's protocol: include/uapi/linux/fuse.h since 6.14.
constexpr std::uint32_t kRegister = 1;        // FUSE_IO_URING_CMD_REGISTER
constexpr std::uint32_t kCommitAndFetch = 2;  // FUSE_IO_URING_CMD_COMMIT_AND_FETCH

struct EntryHeaders {              // fuse_uring_req_header
    std::array<char, 128> in_out;  // fuse_in_header, or fuse_out_header
    std::array<char, 128> op_in;   // what comes first after it, but for names and data
    struct {                       // fuse_uring_ent_in_out
        std::uint64_t flags;
        std::uint64_t commit_id;
        std::uint32_t payload_size;
        std::uint32_t padding;
        std::uint64_t reserved;
    } payload;
};

struct Command {  // fuse_uring_cmd_req
    std::uint64_t flags;
    std::uint64_t commit_id;
    std::uint16_t queue;
    std::array<std::uint8_t, 6> padding;
};

constexpr std::size_t kCommandAt = offsetof(io_uring_sqe, cmd);

// The kernel gives a new entry what comes after it, not what is queued already, which waits until
// somebody has answered: a thread is there before it is needed.
constexpr std::size_t kSpareThreads = 2;

constexpr std::size_t kHeadersRoom = 4096;
// What is longer, a WRITE, is served where the kernel put it: its answer overwrites data that is no
// longer needed. Anything else is copied, since names and values may be used after the answer.
constexpr std::size_t kLongestCopied = std::size_t{128} << 10;

// Whose submission and completion is one thread's alone, and made when that thread asks.
constexpr unsigned kRingFlags =
    IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

std::size_t page_aligned(std::size_t size) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return (size + page - 1) / page * page;
}

// Not on a processor that is offline or not for this process.
void stay_on(unsigned processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
}

// libfuse's answers and notifications.
ssize_t send(int device, iovec* parts, int count, void* /*user_data*/) {
    if (RingLoop::answer(std::span(parts, static_cast<std::size_t>(count)))) return 0;
    return ::writev(device, parts, count);
}

ssize_t receive(int device, void* buffer, std::size_t size, void* /*user_data*/) {
    return ::read(device, buffer, size);
}

}  // namespace

// One request at a time of one thread: its buffers, which the kernel fills and reads, and the ring
// that says when.
class RingLoop::Entry {
public:
    Entry(int device, unsigned queue, std::size_t payload)
        : device_(device), queue_(queue), payload_size_(page_aligned(payload)) {}
    ~Entry() {
        if (ring_) ::io_uring_queue_exit(&*ring_);
        if (memory_ != nullptr) ::munmap(memory_, memory_size());
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    // Hands the entry to the kernel. What io_uring_setup(2), mmap(2) and the command say.
    Result<void> enlist() {
        void* const memory = ::mmap(nullptr, memory_size(), PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return fail(Errno::last());
        memory_ = static_cast<char*>(memory);
        io_uring ring{};
        if (const int error = ::io_uring_queue_init(2, &ring, kRingFlags); error != 0) {
            return fail(-error);
        }
        ring_ = ring;
        const std::array<iovec, 2> buffers{
            {{memory_, sizeof(EntryHeaders)}, {payload(), payload_size_}}};
        command(kRegister, 0, buffers);
        if (const int done = ::io_uring_submit(&*ring_); done < 0) return fail(-done);
        io_uring_cqe* refused = nullptr;
        if (::io_uring_peek_cqe(&*ring_, &refused) == 0 && refused->res < 0) {
            return fail(-refused->res);
        }
        return {};
    }

    // Sends the answer to the request before, if there was one, and waits for a request, which
    // stays until the next call. ENOTCONN: the connection has ended.
    Result<fuse_buf> next() {
        if (unique_ != 0) {
            if (!answered_) set_error(EIO);
            command(kCommitAndFetch, headers().payload.commit_id);
        }
        int done = ::io_uring_submit_and_wait(&*ring_, 1);
        while (done == -EAGAIN || done == -ENOMEM || done == -EBUSY) {
            ::sched_yield();  // short of memory: somebody waits for this answer
            done = ::io_uring_submit_and_wait(&*ring_, 1);
        }
        io_uring_cqe* completion = nullptr;
        do {
            done = ::io_uring_wait_cqe(&*ring_, &completion);
        } while (done == -EINTR);
        if (done != 0) return fail(-done);
        const int result = completion->res;
        ::io_uring_cqe_seen(&*ring_, completion);
        if (result < 0) return fail(-result);
        return request();
    }

    // Sets aside the answer to the request that next() gave, if it has this number.
    bool take(std::uint64_t unique, std::span<const iovec> message) {
        if (unique_ != unique || answered_) return false;
        std::memcpy(headers().in_out.data(), message[0].iov_base, sizeof(fuse_out_header));
        std::size_t size = 0;
        for (const iovec& part : message.subspan(1)) {
            if (part.iov_len == 0) continue;
            if (part.iov_len > payload_size_ - size) return set_error(EIO);
            std::memcpy(payload() + size, part.iov_base, part.iov_len);
            size += part.iov_len;
        }
        return set_answered(size);
    }

private:
    std::size_t memory_size() const { return kHeadersRoom + payload_size_ + kLongestCopied; }
    EntryHeaders& headers() const { return *reinterpret_cast<EntryHeaders*>(memory_); }
    char* payload() const { return memory_ + kHeadersRoom; }
    char* copy() const { return payload() + payload_size_; }

    // Goes to the kernel with the next submission. There is room: one is under way at most.
    void command(std::uint32_t operation, std::uint64_t commit_id,
                 std::span<const iovec> buffers = {}) {
        io_uring_sqe* const submission = ::io_uring_get_sqe(&*ring_);
        ::io_uring_prep_rw(IORING_OP_URING_CMD, submission, device_, buffers.data(),
                           static_cast<unsigned>(buffers.size()), 0);
        submission->cmd_op = operation;
        const Command details{.flags = 0,
                              .commit_id = commit_id,
                              .queue = static_cast<std::uint16_t>(queue_),
                              .padding = {}};
        // Reaches behind the structure, which has twice its size here (IORING_SETUP_SQE128).
        std::memcpy(reinterpret_cast<char*>(submission) + kCommandAt, &details, sizeof details);
    }

    bool set_answered(std::size_t payload_size) {
        headers().payload.payload_size = static_cast<std::uint32_t>(payload_size);
        answered_ = true;
        return true;
    }

    bool set_error(int error) {
        const fuse_out_header header{sizeof header, -error, unique_};
        std::memcpy(headers().in_out.data(), &header, sizeof header);
        return set_answered(0);
    }

    // In one piece, as it is read from the device.
    Result<fuse_buf> request() {
        fuse_in_header header{};
        std::memcpy(&header, headers().in_out.data(), sizeof header);
        const std::size_t payload_size = headers().payload.payload_size;
        const std::size_t front = header.len - payload_size;  // the header and what is in op_in
        if (front < sizeof header || front > sizeof header + headers().op_in.size()) {
            return fail(EPROTO);
        }
        const bool copied = header.len <= kLongestCopied;
        char* const begin = copied ? copy() : payload() - front;
        std::memcpy(begin, &header, sizeof header);
        std::memcpy(begin + sizeof header, headers().op_in.data(), front - sizeof header);
        if (copied) std::memcpy(begin + front, payload(), payload_size);
        answered_ = false;
        unique_ = header.unique;
        fuse_buf buffer{};
        buffer.mem = begin;
        buffer.size = header.len;
        return buffer;
    }

    const int device_;
    const unsigned queue_;
    const std::size_t payload_size_;
    // The headers, with room for a request's front before the payload; the payload; the copy.
    char* memory_ = nullptr;
    std::optional<io_uring> ring_;
    std::uint64_t unique_ = 0;  // of the request; 0: there was none yet
    bool answered_ = false;
};

// The first threads of all queues, which start() waits for.
class RingLoop::Start {
public:
    explicit Start(std::size_t threads) : running_(static_cast<std::ptrdiff_t>(threads)) {}

    void report(const Result<void>& enlisted) {
        if (!enlisted) error_ = enlisted.error().code();
        running_.count_down();
    }
    Result<void> wait() {
        running_.wait();
        if (error_ != 0) return fail(error_.load());
        return {};
    }

private:
    std::latch running_;
    std::atomic<int> error_ = 0;
};

namespace {
thread_local RingLoop::Entry* own_entry = nullptr;
}  // namespace

RingLoop::RingLoop(std::size_t threads, Statistics& statistics)
    : most_threads_(threads), statistics_(statistics) {}

RingLoop::~RingLoop() = default;

std::expected<void, std::string> RingLoop::prepare(fuse_session* session) {
    io_uring ring{};
    if (const int error = ::io_uring_queue_init(2, &ring, kRingFlags); error != 0) {
        return std::unexpected("io_uring_setup: " + Errno(-error).message());
    }
    ::io_uring_queue_exit(&ring);
    fuse_custom_io io{};
    io.writev = &send;
    io.read = &receive;
    const int error = fuse_session_custom_io(session, &io, sizeof io, fuse_session_fd(session));
    if (error == 0) return {};
    return std::unexpected("libfuse can't answer through it: " + Errno(-error).message() +
                           " (it is to be built with -Denable-custom-io=true)");
}

Result<void> RingLoop::start(RequestServer server, std::size_t payload) {
    server_ = server;
    payload_ = payload;
    // All possible processors: the kernel counts those that are not there yet.
    const auto processors = static_cast<unsigned>(::get_nprocs_conf());
    const auto start = std::make_shared<Start>(processors);
    for (unsigned processor = 0; processor < processors; ++processor) {
        queues_.emplace_back().processor = processor;
    }
    for (Queue& queue : queues_) add_thread(queue, start);
    return start->wait();
}

void RingLoop::stop() {
    stopping_ = true;
    std::vector<std::thread> threads;
    {
        const Lock lock(mutex_);
        threads.swap(threads_);
    }
    for (std::thread& thread : threads) thread.join();
}

bool RingLoop::answer(std::span<const iovec> message) {
    fuse_out_header header{};
    std::memcpy(&header, message[0].iov_base, sizeof header);
    return own_entry != nullptr && header.unique != 0 && own_entry->take(header.unique, message);
}

void RingLoop::add_thread(Queue& queue, const std::shared_ptr<Start>& start) {
    const Lock lock(mutex_);
    if (stopping_) return;
    ++queue.threads;
    try {
        threads_.emplace_back([this, &queue, start, &own = statistics_.add_thread()] {
            run(queue, start.get(), own);
            --queue.threads;
        });
    } catch (const std::system_error& error) {
        --queue.threads;
        if (start != nullptr) start->report(fail(error.code().value()));
    }
}

void RingLoop::grow(Queue& queue) {
    if (queue.threads.load() < most_threads_) add_thread(queue, nullptr);
}

void RingLoop::run(Queue& queue, Start* start, ThreadStatistics& statistics) {
    if (const auto prepared = sys::prepare_serving_thread(); !prepared) {
        spdlog::error("a serving thread can't get its own credentials: {}",
                      prepared.error().message());
    }
    stay_on(queue.processor);
    Entry entry(fuse_session_fd(server_.session), queue.processor, payload_);
    own_entry = &entry;
    ++queue.waiting;
    const Result<void> enlisted = entry.enlist();
    if (start != nullptr) start->report(enlisted);
    while (enlisted && serve(queue, entry, statistics)) continue;
    --queue.waiting;
    own_entry = nullptr;
}

// The next request; false when there will be none.
bool RingLoop::serve(Queue& queue, Entry& entry, ThreadStatistics& statistics) {
    const Result<fuse_buf> request = entry.next();
    if (!request) {
        const Errno error = request.error();
        if (error != ENOTCONN && error != ECONNABORTED && error != ECANCELED) {
            spdlog::error("processor {}: a ring broke: {}", queue.processor, error.message());
        }
        return false;
    }
    if (--queue.waiting < kSpareThreads) grow(queue);
    server_.serve(*request, statistics);
    ++queue.waiting;
    return true;
}

}  // namespace plyfs::session
