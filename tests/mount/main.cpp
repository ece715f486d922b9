// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tests of the built program through real mounts.
#include <catch2/catch_session.hpp>

#include "mount/sandbox.h"

int main(int argc, char** argv) {
    plyfs::test::enter_sandbox();
    return Catch::Session().run(argc, argv);
}
