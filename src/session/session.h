// SPDX-License-Identifier: GPL-2.0-or-later
//
// One mount from beginning to end: branches opened, what was left in the middle completed, the
// kernel's file system attached, requests served until it is unmounted.
#pragma once

#include <sys/types.h>

#include <expected>
#include <functional>
#include <string>
#include <utility>

#include "config/options.h"
#include "sys/result.h"

namespace plyfs::session {

class Predecessor;

// A mount that could not be made or served, in words for the user.
struct SessionError {
    std::string text;
};

inline std::unexpected<SessionError> refuse(std::string text) {
    return std::unexpected(SessionError{std::move(text)});
}

// How serving ended: unmounted, or, by the process id of a successor, handed over to that.
struct Ended {
    pid_t successor = 0;
};

// Mounts and serves on the calling thread until the file system is unmounted, SIGTERM or SIGINT
// asks for it, or a successor goes on with it (restarts.h), which is given `text`, the same options
// as a YAML file (config::dump). `ready` is called once the mount answers, before the first request
// is waited for: the place to tell a waiting parent and to leave the terminal. Call before there
// are other threads; SIGTERM, SIGINT and SIGHUP are blocked from then on.
std::expected<Ended, SessionError> mount_and_serve(const config::Options& options,
                                                   const std::string& text,
                                                   const std::function<void()>& ready);

// The same in a successor, with the mount of `predecessor`. Where it fails that one goes on, and
// was told why.
std::expected<Ended, SessionError> take_over_and_serve(const config::Options& options,
                                                       const std::string& text,
                                                       Predecessor& predecessor,
                                                       const std::function<void()>& ready);

}  // namespace plyfs::session
