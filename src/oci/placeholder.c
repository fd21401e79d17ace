/* placeholder until the folder has its first module */
extern int oci_placeholder_;
int oci_placeholder_;
