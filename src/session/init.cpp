// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/init.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "session/init_flags.h"
#include "sys/unique_fd.h"

namespace plyfs::session {
namespace {

// FUSE_MIN_READ_BUFFER and FUSE_DEFAULT_MAX_PAGES_PER_REQ of the kernel.
constexpr std::size_t kLeastPayload = 8192;
constexpr std::size_t kDefaultPages = 32;

// A message, or the front of it: what old versions of the protocol lack stays zero.
template <typename Header, typename Body>
struct Message {
    explicit Message(std::span<const char> bytes) {
        std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof header));
        if (bytes.size() <= sizeof header) return;
        const std::span rest = bytes.subspan(sizeof header);
        std::memcpy(&body, rest.data(), std::min(rest.size(), sizeof body));
    }

    Header header{};
    Body body{};
};
using InitRequest = Message<fuse_in_header, fuse_init_in>;
using InitReply = Message<fuse_out_header, fuse_init_out>;

// As fuse_uring_create() of the kernel computes it.
std::size_t largest_payload(const fuse_init_out& init) {
    const std::size_t pages = (init.flags & FUSE_MAX_PAGES) != 0
                                  ? std::max<std::size_t>(init.max_pages, 1)
                                  : kDefaultPages;
    const auto page_size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return std::max({kLeastPayload, std::size_t{init.max_write}, pages * page_size});
}

// libfuse's answer to the request. It writes it to the descriptor of the device: for this one
// request something else stands there.
Result<InitReply> answer_of_libfuse(fuse_session* session, const fuse_buf& request) {
    const int device = fuse_session_fd(session);
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        return fail(Errno::last());
    }
    const UniqueFd near(pair[0]);
    const UniqueFd far(pair[1]);
    const UniqueFd real(::fcntl(device, F_DUPFD_CLOEXEC, 0));
    if (!real || ::dup3(far.get(), device, O_CLOEXEC) < 0) return fail(Errno::last());
    fuse_session_process_buf(session, &request);
    if (::dup3(real.get(), device, O_CLOEXEC) < 0) return fail(Errno::last());

    std::array<char, 4096> bytes{};
    const ssize_t size = ::recv(near.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size <= 0) return fail(EPROTO);
    return InitReply(std::span(bytes.data(), static_cast<std::size_t>(size)));
}

// What is to be answered; nothing is sent.
Result<InitAnswer> settle(fuse_session* session, const fuse_buf& buffer, std::uint64_t further) {
    const std::span bytes(static_cast<const char*>(buffer.mem), buffer.size);
    const InitRequest request(bytes);
    if (request.header.opcode != FUSE_INIT) return fail(EPROTO);
    const std::uint64_t agreed = further & offered_init_flags(request.body);
    InitReply reply = TRY(answer_of_libfuse(session, buffer));
    add_init_flags(reply.body, agreed);
    const std::size_t size = std::min<std::size_t>(reply.header.len, sizeof reply);
    std::vector<char> answer(size);
    std::memcpy(answer.data(), &reply, size);
    return InitAnswer{
        agreed, largest_payload(reply.body), {bytes.begin(), bytes.end()}, std::move(answer)};
}

}  // namespace

Result<InitAnswer> answer_init(fuse_session* session, std::uint64_t further) {
    fuse_buf buffer{};
    const int received = fuse_session_receive_buf(session, &buffer);
    const std::unique_ptr<void, decltype(&std::free)> memory(buffer.mem, &std::free);
    if (received <= 0) return fail(received == 0 ? ENODEV : -received);
    InitAnswer init = TRY(settle(session, buffer, further));
    const auto size = static_cast<ssize_t>(init.reply.size());
    if (::write(fuse_session_fd(session), init.reply.data(), init.reply.size()) != size) {
        return fail(Errno::last());
    }
    return init;
}

Result<InitAnswer> repeat_init(fuse_session* session, const InitAnswer& settled) {
    std::vector<char> request = settled.request;
    fuse_buf buffer{};
    buffer.mem = request.data();
    buffer.size = request.size();
    InitAnswer init = TRY(settle(session, buffer, settled.agreed));
    if (init.agreed != settled.agreed || init.reply != settled.reply) return fail(EPROTO);
    return init;
}

}  // namespace plyfs::session
