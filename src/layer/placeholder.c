/* placeholder until the folder has its first module */
extern int layer_placeholder_;
int layer_placeholder_;
