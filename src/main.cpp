// SPDX-License-Identifier: GPL-2.0-or-later
#include <iostream>

#include "plyfs_version.h"

int main() {
    std::cout << "plyfs " PLYFS_VERSION "\n";
}
