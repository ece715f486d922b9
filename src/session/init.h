// SPDX-License-Identifier: GPL-2.0-or-later
//
// The first request of a mount, which settles what the kernel and plyfs may use.
#pragma once

#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sys/result.h"

namespace plyfs::session {

// What the request and its answer settled.
struct InitAnswer {
    std::uint64_t agreed = 0;         // of the flags that were to be added: what the kernel offered
    std::size_t largest_payload = 0;  // bytes: what a request or an answer carries beside headers
    // As the kernel sent it, and as it was answered.
    std::vector<char> request;
    std::vector<char> reply;
};

// Answers FUSE_INIT on the calling thread: libfuse's answer plus those of `further`, flags that
// libfuse has no names for (features.h), that the kernel offers. Blocks until the kernel has sent
// it. EPROTO: something else came first; errnos of reading and writing the device.
Result<InitAnswer> answer_init(fuse_session* session, std::uint64_t further);

// The same in a successor process: has libfuse answer the request once more, so that it knows what
// was settled. EPROTO: this plyfs would have answered otherwise, so that it can't go on with that
// mount.
Result<InitAnswer> repeat_init(fuse_session* session, const InitAnswer& settled);

}  // namespace plyfs::session
