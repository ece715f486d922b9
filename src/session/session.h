// SPDX-License-Identifier: GPL-2.0-or-later
//
// One mount from beginning to end: branches opened, what was left in the middle completed, the
// kernel's file system attached, requests served until it is unmounted.
#pragma once

#include <expected>
#include <functional>
#include <string>

#include "config/options.h"
#include "sys/result.h"

namespace plyfs::session {

// A mount that could not be made or served, in words for the user.
struct SessionError {
    std::string text;
};

// Mounts and serves on the calling thread until the file system is unmounted or SIGTERM or SIGINT
// asks for it. `ready` is called once the mount answers, before the first request is waited for:
// the place to tell a waiting parent and to leave the terminal. Call before there are other
// threads; SIGTERM, SIGINT and SIGHUP are blocked from then on.
std::expected<void, SessionError> mount_and_serve(const config::Options& options,
                                                  const std::function<void()>& ready);

}  // namespace plyfs::session
