# SPDX-License-Identifier: GPL-2.0-or-later
#
# mount(8) looks for mount.plyfs in /sbin only, so that `mount -t plyfs` wants the prefix /usr on a
# system with a merged /usr, or -DPLYFS_MOUNT_HELPER_DIR=/sbin elsewhere.

set(PLYFS_MOUNT_HELPER_DIR "${CMAKE_INSTALL_SBINDIR}" CACHE PATH "Where mount.plyfs goes")

install(TARGETS plyfs RUNTIME)

cmake_path(ABSOLUTE_PATH PLYFS_MOUNT_HELPER_DIR BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}"
    OUTPUT_VARIABLE helper_dir)
file(RELATIVE_PATH helper_target "${helper_dir}" "${CMAKE_INSTALL_FULL_BINDIR}/plyfs")
file(CREATE_LINK "${helper_target}" "${PROJECT_BINARY_DIR}/mount.plyfs" SYMBOLIC)
install(FILES "${PROJECT_BINARY_DIR}/mount.plyfs" DESTINATION "${PLYFS_MOUNT_HELPER_DIR}")

install(DIRECTORY man/ DESTINATION "${CMAKE_INSTALL_MANDIR}/man8" OPTIONAL
    FILES_MATCHING PATTERN "*.8")
install(DIRECTORY man/ DESTINATION "${CMAKE_INSTALL_MANDIR}/man5" OPTIONAL
    FILES_MATCHING PATTERN "*.5")
install(DIRECTORY config/ DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples" OPTIONAL
    PATTERN "*.schema.json" EXCLUDE)
install(DIRECTORY config/ DESTINATION "${CMAKE_INSTALL_DATADIR}/plyfs" OPTIONAL
    FILES_MATCHING PATTERN "*.schema.json")
