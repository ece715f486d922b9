// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is known of a live mount, as the value of the attribute `user.plyfs.stats` of its root.
#pragma once

#include <string>

#include "session/statistics.h"

namespace plyfs::session {

struct Context;

// The member "requests": an object by the requests' names, without types that never came. `buckets`
// holds pairs [bucket, requests], without empty ones. JSON on one line.
std::string requests_to_json(const AllRequestCounts& requests);

// All of it: JSON on one line, less than 64 KiB (XATTR_SIZE_MAX). Later versions may add members;
// what a member means stays. Durations are nanoseconds unless the name says otherwise, sizes bytes.
// Takes the union's leaf locks for a moment each. Thread-safe.
std::string statistics_report(const Context& context);

}  // namespace plyfs::session
