// SPDX-License-Identifier: GPL-2.0-or-later
//
// One request of the kernel, from its bytes to its answer, whatever brought it.
#pragma once

#include <fuse_lowlevel.h>

#include "session/statistics.h"

namespace plyfs::session {

// What serves requests, and how.
struct RequestServer {
    fuse_session* session;
    bool log;  // each to stderr, as `request NAME node=N unique=U uid=I pid=P`

    // Has libfuse take the request apart and call its operation, which answers it now or later.
    // Before that, current_extras() is read from the request. Counted in `statistics`, which is
    // the calling thread's.
    void serve(const fuse_buf& request, ThreadStatistics& statistics) const;
};

}  // namespace plyfs::session
