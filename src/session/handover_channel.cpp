// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/handover_channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

namespace plyfs::session {
namespace {

constexpr std::size_t kLongestMessage = 65536;
constexpr std::size_t kMostDescriptors = 200;  // SCM_MAX_FD of the kernel is 253

struct ControlBuffer {
    alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(int) * kMostDescriptors)];
};

std::vector<UniqueFd> descriptors_of(msghdr& header) {
    std::vector<UniqueFd> result;
    for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
         control = CMSG_NXTHDR(&header, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t index = 0; index < count; ++index) {
            int descriptor = -1;
            std::memcpy(&descriptor, CMSG_DATA(control) + index * sizeof descriptor,
                        sizeof descriptor);
            result.emplace_back(descriptor);
        }
    }
    return result;
}

}  // namespace

HandoverChannel::HandoverChannel(UniqueFd socket, std::optional<std::chrono::seconds> patience)
    : socket_(std::move(socket)) {
    if (!patience) return;
    const timeval limit{patience->count(), 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

Result<void> HandoverChannel::send(std::string_view text, std::span<const int> descriptors) const {
    if (text.size() > kLongestMessage || descriptors.size() > kMostDescriptors) {
        return fail(EMSGSIZE);
    }
    iovec part{const_cast<char*>(text.data()), text.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    ControlBuffer control{};
    if (!descriptors.empty()) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* const message = CMSG_FIRSTHDR(&header);
        message->cmsg_level = SOL_SOCKET;
        message->cmsg_type = SCM_RIGHTS;
        message->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(message), descriptors.data(), descriptors.size_bytes());
    }
    while (::sendmsg(socket_.get(), &header, MSG_NOSIGNAL) < 0) {
        if (errno != EINTR) return fail(Errno::last());
    }
    return {};
}

Result<void> HandoverChannel::send_descriptors(const std::vector<int>& descriptors) const {
    for (std::size_t at = 0; at < descriptors.size(); at += kMostDescriptors) {
        const std::size_t count = std::min(kMostDescriptors, descriptors.size() - at);
        TRY(send("descriptors", std::span(descriptors).subspan(at, count)));
    }
    return {};
}

Result<HandoverChannel::Message> HandoverChannel::receive() const {
    Message message;
    message.text.resize(kLongestMessage);
    iovec part{message.text.data(), message.text.size()};
    ControlBuffer control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof control.bytes;
    ssize_t size = 0;
    do {
        size = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size < 0) return fail(Errno::last());
    message.descriptors = descriptors_of(header);
    if ((header.msg_flags & MSG_CTRUNC) != 0) return fail(EMFILE);
    if ((header.msg_flags & MSG_TRUNC) != 0) return fail(EMSGSIZE);
    if (size == 0) return fail(EPIPE);
    message.text.resize(static_cast<std::size_t>(size));
    return message;
}

Result<std::vector<UniqueFd>> HandoverChannel::receive_descriptors(std::size_t number) const {
    std::vector<UniqueFd> result;
    while (result.size() < number) {
        Message message = TRY(receive());
        if (message.descriptors.empty()) return fail(EPROTO);
        std::ranges::move(message.descriptors, std::back_inserter(result));
    }
    if (result.size() != number) return fail(EPROTO);
    return result;
}

}  // namespace plyfs::session
