// SPDX-License-Identifier: GPL-2.0-or-later
//
// How a daemon and its successor talk: messages, and descriptors with them, over a pair of sockets
// (unix(7), SOCK_SEQPACKET). Owns its end. Not thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::session {

class HandoverChannel {
public:
    // The other end may take its time, in both directions, for `patience`; without: for ever, as
    // long as it is there.
    explicit HandoverChannel(UniqueFd socket, std::optional<std::chrono::seconds> patience = {});

    struct Message {
        std::string text;
        std::vector<UniqueFd> descriptors;
    };
    // At most 64 KiB, and a dozen descriptors, which stay the caller's. EPIPE, ECONNRESET: the
    // other end is gone. EAGAIN: it does not read.
    Result<void> send(std::string_view text, std::span<const int> descriptors = {}) const;
    // The same of any number, in messages of their own.
    Result<void> send_descriptors(const std::vector<int>& descriptors) const;
    // EPIPE, ECONNRESET: the other end is gone. EAGAIN: nothing came. EMFILE: this process may not
    // have so many descriptors. EMSGSIZE: the message is longer than one can be.
    Result<Message> receive() const;
    Result<std::vector<UniqueFd>> receive_descriptors(std::size_t number) const;

private:
    UniqueFd socket_;
};

}  // namespace plyfs::session
